"""A TAR as the body of an upload."""

from __future__ import annotations

from contextlib import aclosing

from aiohttp import web

from gateway.context import Gateway
from gateway.upload_body import read_body
from storage.content import Added, Owned
from storage.tar_import import tar_entries

TAR = "application/x-tar"


async def add_tar(request: web.Request, gateway: Gateway, owned: Owned) -> Added:
    """A directory of all that is in the TAR, one file alone included. Raises InvalidTar and InvalidPath."""
    entries = tar_entries(read_body(request), gateway.limits.directory_entries)
    async with aclosing(entries):
        return await gateway.content.add_tree(entries, owned)
