"""A TAR as the body of an upload."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace

from aiohttp import web

from gateway.context import Gateway
from gateway.refusals import BadRequest
from gateway.request import parse_parameters, target_of
from gateway.upload_body import read_body
from storage.content import Added, Owned
from storage.tar_import import Preserve, tar_entries

TAR = "application/x-tar"


async def add_tar(request: web.Request, gateway: Gateway, owned: Owned) -> Added:
    """A directory of all that is in the TAR, one file alone included. Raises InvalidTar and InvalidPath.

    With modes or times the CID is that of `ipfs add -r --preserve-mode --preserve-mtime`, and no profile's.
    """
    preserve = _preserve(parse_parameters(target_of(request)[1]))
    profile = owned.profile.for_metadata() if preserve != Preserve() else owned.profile
    entries = tar_entries(read_body(request), gateway.limits.directory_entries, preserve)
    async with aclosing(entries):
        added = await gateway.content.add_tree(entries, replace(owned, profile=profile))
    return added if preserve == Preserve() else replace(added, profile=None)


def _preserve(parameters: Mapping[str, str]) -> Preserve:
    return Preserve(_flag(parameters, "preserve-mode"), _flag(parameters, "preserve-mtime"))


def _flag(parameters: Mapping[str, str], name: str) -> bool:
    value = parameters.get(name, "false")
    if value not in ("true", "false"):
        raise BadRequest(f"{name} is true or false")
    return value == "true"
