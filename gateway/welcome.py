"""`GET /`: what a person who opens the gateway sees."""

from __future__ import annotations

import re

from aiohttp import hdrs, web

from gateway.context import GATEWAY
from gateway.formats.pages import PAGE_HEADERS
from gateway.formats.welcome_page import Welcome, render_welcome, render_welcome_text
from gateway.headers import accepts_html
from gateway.health import program_version


async def get_welcome(request: web.Request) -> web.Response:
    """A page for browsers, the same as text for terminals."""
    gateway = request.app[GATEWAY]
    url = gateway.public_url or f"{request.scheme}://{_host(request)}"
    welcome = Welcome(url.rstrip("/"), program_version(), gateway.sample or "bafkqaaa")
    if accepts_html(request.headers.get(hdrs.ACCEPT)):
        headers = {**PAGE_HEADERS, hdrs.CONTENT_TYPE: "text/html; charset=utf-8"}
        return web.Response(text=render_welcome(welcome), headers=headers)
    return web.Response(text=render_welcome_text(welcome))


# What is pasted into a shell holds nothing that a shell would take for more than a name.
_SANE_HOST = re.compile(r"[A-Za-z0-9._\[\]:-]{1,255}")


def _host(request: web.Request) -> str:
    host = request.headers.get(hdrs.HOST, "")
    return host if _SANE_HOST.fullmatch(host) else "localhost"
