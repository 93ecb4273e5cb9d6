"""The headers that every response carries, whoever made it."""

from __future__ import annotations

from aiohttp import web

from gateway.headers import CORS
from gateway.request_id import HEADER, id_of


async def complete_headers(request: web.Request, response: web.StreamResponse) -> None:
    """For `app.on_response_prepare`: the only place that reaches streamed responses and errors alike."""
    headers = response.headers
    headers[HEADER] = id_of(request)
    # A representation brings them along, made once.
    if "Access-Control-Allow-Origin" not in headers:
        headers.update(CORS)
