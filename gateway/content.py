"""Reading: a request becomes a path, the path a CID, the CID a representation, and that is sent."""

from __future__ import annotations

import asyncio
import time

from aiohttp import hdrs, web

from cache.blocks import provenance
from gateway.answers import NamesAsked, Question
from gateway.context import GATEWAY, Gateway
from gateway.formats import REPRESENT
from gateway.formats.car_absence import represent_absence
from gateway.formats.ipns_record import represent_ipns_record
from gateway.negotiation import Format
from gateway.path_requests import redirected, refuse_wide_service_worker
from gateway.refusals import NotSupported, PreconditionFailed
from gateway.representation import Representation, send
from gateway.request import CONTENT_PATH, ORIGIN, PATH_ORIGIN, ContentRequest, accept_of, target_of
from gateway.routing_api import for_asker, records_for
from gateway.sites.site import site_fallback, with_site_headers
from gateway.trustless import require_verifiable
from ipld.errors import BlockNotFound, NameNotFound, NoLink, RecordNotFound
from ipld.names import NameResolver
from ipld.paths import Found, resolve

# Where the answer came from, for the access log and the metrics.
SOURCE: web.RequestKey[str] = web.RequestKey("source", str)


async def get_content(request: web.Request) -> web.StreamResponse:
    """GET and HEAD of `/ipfs/…` and `/ipns/…`."""
    gateway = request.app[GATEWAY]
    origin = request.get(ORIGIN, PATH_ORIGIN)
    # Answers of different origins are kept apart.
    question = (f"{origin.key}{request.raw_path}", accept_of(request))
    places: list[str] = []
    provenance.set(places)
    try:
        if not origin.root:
            refuse_wide_service_worker(request)
        shown = None if origin.key is None else gateway.answers.get(question)
        if shown is None:
            shown = await _find(request, gateway, question)
        return await send(request, shown, gateway.limits.send)
    except (BlockNotFound, NameNotFound, RecordNotFound) as error:
        # Some formats look for blocks as late as this.
        if only_if_cached(request):
            path = request.get(CONTENT_PATH, request.path)
            raise PreconditionFailed(f"{path} not in local datastore") from error
        raise
    finally:
        request[SOURCE] = slowest(places)


async def _find(request: web.Request, gateway: Gateway, question: Question) -> Representation:
    origin = request.get(ORIGIN, PATH_ORIGIN)
    elsewhere = None if origin.root else redirected(*target_of(request))
    if elsewhere is not None:
        return elsewhere
    epoch = gateway.answers.epoch
    wanted = ContentRequest.parse(request, gateway.limits.path_bytes)
    if not origin.rules.deserialized:
        require_verifiable(wanted)
    names, began = NamesAsked(names_for(request, gateway)), time.monotonic()
    # A TimeoutError here is 504: the content may exist and could not be found in time.
    async with asyncio.timeout(gateway.limits.send.retrieval_timeout):
        if wanted.format is Format.IPNS_RECORD:
            return for_asker(request, await represent_ipns_record(records_for(request, gateway), wanted))
        shown = await _answer(gateway, wanted, names)
    if origin.key is None:
        return shown
    if not wanted.path.mutable:
        gateway.answers.put(question, shown, epoch)
    elif names.seconds and not only_if_cached(request):
        gateway.answers.put(question, shown, epoch, began + names.seconds)
    return shown


async def _answer(gateway: Gateway, wanted: ContentRequest, names: NameResolver) -> Representation:
    """What a path leads to, or what the website says about a path that it does not have."""
    limits = gateway.limits.resolve
    try:
        found = await resolve(names, gateway.blocks, wanted.path, limits)
    except NoLink as missing:
        if wanted.format is Format.CAR and missing.trail:
            return await represent_absence(gateway.blocks, wanted, missing)
        shown = await site_fallback(gateway.sites, names, gateway.blocks, wanted, limits)
        if shown is None:
            raise
        return shown
    shown = await represent(gateway, wanted, found)
    return await with_site_headers(gateway.sites, gateway.blocks, wanted, found, shown)


def names_for(request: web.Request, gateway: Gateway) -> NameResolver:
    """Who is asked about names: nobody outside where the client wants no effort."""
    return gateway.names_here if only_if_cached(request) else gateway.names


def only_if_cached(request: web.Request) -> bool:
    """RFC 9111 section 5.2.1.7: the client wants no effort beyond this gateway's own stores."""
    if hdrs.CACHE_CONTROL not in request.headers:
        return False
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
