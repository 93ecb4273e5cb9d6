"""The headers that every response carries, whoever made it."""

from __future__ import annotations

from aiohttp import hdrs, web

from gateway.headers import CORS
from gateway.request import CONTENT_PATH
from gateway.request_id import HEADER, id_of

SERVER = "cidgate"


async def complete_headers(request: web.Request, response: web.StreamResponse) -> None:
    """For `app.on_response_prepare`: the only place that reaches streamed responses and errors alike."""
    headers = response.headers
    headers[HEADER] = id_of(request)
    headers[hdrs.SERVER] = SERVER
    # A representation brings these along, made once.
    if "Access-Control-Allow-Origin" not in headers:
        headers.update(CORS)
        if CONTENT_PATH in request:
            headers.setdefault("X-Ipfs-Path", request[CONTENT_PATH])
