"""`GET /`: what a person who opens the gateway sees."""

from __future__ import annotations

from aiohttp import hdrs, web

from gateway.context import GATEWAY
from gateway.formats.pages import PAGE_HEADERS
from gateway.formats.welcome_page import Welcome, render_welcome, render_welcome_text
from gateway.headers import accepts_html
from gateway.health import program_version
from gateway.request import ORIGIN


async def get_welcome(request: web.Request) -> web.Response:
    """A page for browsers, the same as text for terminals."""
    gateway = request.app[GATEWAY]
    deserialized = request[ORIGIN].rules.deserialized
    # The host was checked: a shell that it is pasted into takes it for no more than a name.
    url = gateway.public_url or f"{gateway.proxies.scheme(request)}://{request[ORIGIN].host or 'localhost'}"
    welcome = Welcome(url.rstrip("/"), program_version(), gateway.sample or "bafkqaaa", not deserialized)
    if accepts_html(request.headers.get(hdrs.ACCEPT)):
        headers = {**PAGE_HEADERS, hdrs.CONTENT_TYPE: "text/html; charset=utf-8"}
        return web.Response(text=render_welcome(welcome), headers=headers)
    return web.Response(text=render_welcome_text(welcome))
