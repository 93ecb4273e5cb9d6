"""`/routing/v1/ipns/<name>`: IPNS records for other nodes (HTTP routing v1 spec, "IPNS API")."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import replace
from urllib.parse import unquote

from aiohttp import hdrs, web

from gateway.context import GATEWAY, Gateway
from gateway.formats.ipns_record import SUFFIX
from gateway.headers import NO_STORE, content_disposition, http_date
from gateway.negotiation import accepts
from gateway.refusals import BadRequest, NotAcceptable, NotSupported, PayloadTooLarge
from gateway.representation import Representation, send
from gateway.request import accept_of
from gateway.upload_body import read_body
from ipld.errors import InvalidName, InvalidRecord, RecordNotFound
from ipld.ipns_name import IpnsName
from ipld.ipns_record import MAX_BYTES, MEDIA_TYPE
from naming.ipns import Current, IpnsNames
from naming.via import Via, marks_in

# "Response Headers": for records that state no TTL, or none that helps.
_DEFAULT_MAX_AGE = 60
# How long "there is none" may be remembered: short, since the next thing that happens is a record.
_MISSING_MAX_AGE = 15
# The other parts of the protocol: who has what in the network.
_OF_NODES = ("providers/", "peers/", "dht/")


async def get_record(request: web.Request) -> web.StreamResponse:
    """GET and HEAD. Raises NotAcceptable, BadRequest and what `IpnsNames.current` raises."""
    gateway = request.app[GATEWAY]
    if not accepts(accept_of(request), MEDIA_TYPE):
        raise NotAcceptable(f"records come in one type only; retry with `Accept: {MEDIA_TYPE}`")
    name = _name(request)
    try:
        async with asyncio.timeout(gateway.limits.send.retrieval_timeout):
            shown = _record(name, await records_for(request, gateway).current(name))
    except RecordNotFound as error:
        shown = _no_record(str(error))
    return await send(request, for_asker(request, shown), gateway.limits.send)


def records_for(request: web.Request, gateway: Gateway) -> IpnsNames:
    """Records for whoever asks: a question of another gateway never comes back to it."""
    return gateway.ipns.asked_by(_via(request))


def for_asker(request: web.Request, shown: Representation) -> Representation:
    """An answer to a question of another gateway is for that one alone: not everybody was asked for it."""
    return replace(shown, headers={**shown.headers, "Cache-Control": NO_STORE}) if _via(request) else shown


def _via(request: web.Request) -> Via:
    return marks_in(request.headers.getall(hdrs.VIA, []))


async def put_record(request: web.Request) -> web.StreamResponse:
    """Take a record; 200 once it is kept, and newer than all that were.

    Raises NotAcceptable, PayloadTooLarge, BadRequest and OlderRecord.
    """
    if request.content_type != MEDIA_TYPE:
        raise NotAcceptable(f"records come in one type only; retry with `Content-Type: {MEDIA_TYPE}`")
    name = _name(request)
    raw = await read_bounded(request, MAX_BYTES)
    try:
        await request.app[GATEWAY].ipns.put(name, raw)
    except InvalidRecord as error:
        raise BadRequest(str(error)) from error
    return web.Response(status=200)


async def refuse_rest(request: web.Request) -> web.StreamResponse:
    """ "Error Codes": NotSupported for what only nodes of the network know, else BadRequest."""
    only = "of the delegated routing protocol this gateway has /routing/v1/ipns/<name> only"
    raise NotSupported(only) if request.match_info["path"].startswith(_OF_NODES) else BadRequest(only)


async def read_bounded(request: web.Request, limit: int) -> bytes:
    """The whole of a small body; PayloadTooLarge beyond `limit` bytes."""
    body = bytearray()
    async with aclosing(read_body(request)) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > limit:
                raise PayloadTooLarge(f"the body is over the {limit} bytes that are allowed")
    return bytes(body)


def _name(request: web.Request) -> IpnsName:
    try:
        return IpnsName.parse(unquote(request.match_info["name"]))
    except InvalidName as error:
        raise BadRequest(str(error)) from error


def _record(name: IpnsName, current: Current) -> Representation:
    record = current.record
    left = int(record.expires - time.time())
    max_age = min(current.ttl if record.ttl_seconds else _DEFAULT_MAX_AGE, left)
    # Past its end no client takes the record, so nobody may keep it longer, stale or not.
    stale = left - max_age
    return Representation(
        content_type=MEDIA_TYPE,
        etag=record.etag,
        headers={
            "Cache-Control": (
                f"public, max-age={max_age}, stale-while-revalidate={stale}, stale-if-error={stale}"
            ),
            "Expires": http_date(record.expires),
            "Vary": "Accept",
            "Content-Disposition": content_disposition(f"{name}{SUFFIX}", attachment=True),
            "X-Content-Type-Options": "nosniff",
        },
        last_modified=current.since,
        body=record.raw,
    )


def _no_record(text: str) -> Representation:
    """Any other type than that of records says that there is none; the spec asks for 200, not 404."""
    headers = {"Cache-Control": f"public, max-age={_MISSING_MAX_AGE}", "Vary": "Accept"}
    return Representation(
        content_type="text/plain; charset=utf-8", headers=headers, body=f"{text}\n".encode()
    )
