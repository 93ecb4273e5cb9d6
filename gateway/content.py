"""Reading: a request becomes a path, the path a CID, the CID a representation, and that is sent."""

from __future__ import annotations

import asyncio

from aiohttp import hdrs, web

from cache.blocks import provenance
from gateway.answers import Question
from gateway.context import GATEWAY, Gateway
from gateway.formats import REPRESENT
from gateway.refusals import NotSupported, PreconditionFailed
from gateway.representation import Representation, send
from gateway.request import ContentRequest, accept_of
from gateway.trustless import require_verifiable
from ipld.errors import BlockNotFound, NameNotFound
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
        if gateway.trustless.applies(request.headers.get(hdrs.HOST)):
            require_verifiable(ContentRequest.parse(request, gateway.limits.path_bytes))
        shown = gateway.answers.get(question)
        if shown is None:
            shown = await _find(request, gateway, question)
        return await send(request, shown, gateway.limits.send)
    finally:
        request[SOURCE] = slowest(places)


async def _find(request: web.Request, gateway: Gateway, question: Question) -> Representation:
    epoch = gateway.answers.epoch
    wanted = ContentRequest.parse(request, gateway.limits.path_bytes)
    try:
        # A TimeoutError here is 504: the content may exist and could not be found in time.
        async with asyncio.timeout(gateway.limits.send.retrieval_timeout):
            found = await resolve(gateway.names, gateway.blocks, wanted.path, gateway.limits.resolve)
            shown = await represent(gateway, wanted, found)
    except (BlockNotFound, NameNotFound) as error:
        if only_if_cached(request):
            raise PreconditionFailed(f"{wanted.path} not in local datastore") from error
        raise
    if not found.mutable:
        gateway.answers.put(question, shown, epoch)
    return shown


def only_if_cached(request: web.Request) -> bool:
    """RFC 9111 section 5.2.1.7: the client wants no effort beyond this gateway's own stores."""
    directives = ",".join(request.headers.getall(hdrs.CACHE_CONTROL, [])).split(",")
    return any(directive.strip().lower() == "only-if-cached" for directive in directives)


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
