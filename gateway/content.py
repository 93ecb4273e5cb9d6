"""Reading: a request becomes a path, the path a CID, the CID a representation, and that is sent."""

from __future__ import annotations

import asyncio

from aiohttp import web

from cache.blocks import provenance
from gateway.answers import Question
from gateway.context import GATEWAY, Gateway
from gateway.formats import REPRESENT
from gateway.refusals import NotAcceptable, NotSupported
from gateway.representation import Representation, send
from gateway.request import ContentRequest, accept_of
from ipld.paths import Found, resolve

# Where the answer came from, for the access log and the metrics.
SOURCE: web.RequestKey[str] = web.RequestKey("source", str)


async def get_content(request: web.Request) -> web.StreamResponse:
    """GET and HEAD of `/ipfs/…` and `/ipns/…`."""
    gateway = request.app[GATEWAY]
    question = (request.raw_path, accept_of(request))
    places: list[str] = []
    provenance.set(places)
    try:
        shown = gateway.answers.get(question)
        if shown is None:
            shown = await _find(request, gateway, question)
        return await send(request, shown, gateway.limits.send)
    finally:
        request[SOURCE] = slowest(places)


async def _find(request: web.Request, gateway: Gateway, question: Question) -> Representation:
    epoch = gateway.answers.epoch
    wanted = ContentRequest.parse(request, gateway.limits.path_bytes)
    # A TimeoutError here is 504: the content may exist and could not be found in time.
    async with asyncio.timeout(gateway.limits.send.retrieval_timeout):
        found = await resolve(gateway.names, gateway.blocks, wanted.path, gateway.limits.resolve)
        shown = await represent(gateway, wanted, found)
    if not found.mutable:
        gateway.answers.put(question, shown, epoch)
    return shown


async def represent(gateway: Gateway, wanted: ContentRequest, found: Found) -> Representation:
    """What the wanted format makes of what was found."""
    if found.remainder:
        raise NotSupported(
            f"{found.cid} is not UnixFS, so /{'/'.join(found.remainder)} cannot be followed inside it; "
            "ask for the block itself with format=raw"
        )
    if wanted.format not in REPRESENT:
        raise NotAcceptable(f"the format {wanted.format} is not served here; ask for format=raw")
    return await REPRESENT[wanted.format](gateway.blocks, wanted, found)


def slowest(places: list[str]) -> str:
    """The slowest place that a block of this answer came from."""
    return next((place for place in ("remote", "store", "redis") if place in places), "memory")
