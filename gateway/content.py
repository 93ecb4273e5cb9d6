"""Reading: a request becomes a path, the path a CID, the CID a representation, and that is sent."""

from __future__ import annotations

from aiohttp import hdrs, web

from cache.blocks import provenance
from gateway.context import GATEWAY, Gateway
from gateway.formats import REPRESENT
from gateway.refusals import NotSupported
from gateway.representation import Representation, send
from gateway.request import ContentRequest
from ipld.paths import Found, resolve

# Where the answer came from, for the access log and the metrics.
SOURCE: web.RequestKey[str] = web.RequestKey("source", str)


async def get_content(request: web.Request) -> web.StreamResponse:
    """GET and HEAD of `/ipfs/…` and `/ipns/…`."""
    gateway = request.app[GATEWAY]
    question = (request.raw_path, request.headers.get(hdrs.ACCEPT))
    shown = gateway.answers.get(question)
    if shown is not None:
        request[SOURCE] = "memory"
        return await send(request, shown, gateway.limits.send)
    places: list[str] = []
    provenance.set(places)
    wanted = ContentRequest.parse(request, gateway.limits.path_bytes)
    found = await resolve(gateway.names, gateway.blocks, wanted.path, gateway.limits.resolve)
    shown = await represent(gateway, wanted, found)
    if not found.mutable:
        gateway.answers.put(question, shown, shown.weight + len(request.raw_path))
    response = await send(request, shown, gateway.limits.send)
    request[SOURCE] = slowest(places)
    return response


async def represent(gateway: Gateway, wanted: ContentRequest, found: Found) -> Representation:
    """What the wanted format makes of what was found."""
    if found.remainder:
        raise NotSupported(
            f"{found.cid} is not UnixFS, so /{'/'.join(found.remainder)} cannot be followed inside it; "
            "ask for the block itself with format=raw"
        )
    return await REPRESENT[wanted.format](gateway.blocks, wanted, found)


def slowest(places: list[str]) -> str:
    """The slowest place that a block of this answer came from."""
    return next((place for place in ("remote", "store", "redis") if place in places), "memory")
