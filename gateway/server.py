"""One process that serves: from the open socket to the last answer."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import uvloop
from aiohttp import web, web_response
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy, RawRequestMessage
from yarl import URL

from config.settings import Settings
from gateway.access_log import AccessLog
from gateway.app import create_app
from gateway.background import RENEW_SECONDS, renewing
from gateway.context import Gateway
from gateway.fast_lane import fast_lane
from gateway.response_headers import SERVER
from gateway.wiring import open_gateway
from storage.repeated import repeated

logger = logging.getLogger(__name__)

# Longer than what browsers and proxies keep idle connections for, so that they close first.
KEEPALIVE_SECONDS = 75.0
# Bytes of a request taken from the socket before a handler has read them.
READ_BUFFER_BYTES = 256 * 1024
BACKLOG = 1024

Started = Callable[[Gateway], Awaitable[None]]
_RequestFactory = Callable[..., web.BaseRequest]


def run(settings: Settings, bound: socket.socket, started: Started, *, parent: int | None = None) -> None:
    """Serve on the socket until SIGTERM or SIGINT, or until the pipe from the parent closes."""
    _require_c_parser()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, bound, started, parent))


async def _serve(settings: Settings, bound: socket.socket, started: Started, parent: int | None) -> None:
    stop = _stop_signal(parent)
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(open_gateway(settings))
        await stack.enter_async_context(repeated(renewing(gateway.publisher), RENEW_SECONDS))
        log = None
        if settings.access_log:
            log = await stack.enter_async_context(AccessLog(sys.stdout, settings.log_format.value))
        await stack.enter_async_context(serving(gateway, bound, log))
        await stack.enter_async_context(gateway.jobs())
        await started(gateway)
        await stop.wait()
        if not await gateway.traffic.drain(settings.shutdown_grace):
            logger.warning("requests still under way after SHUTDOWN_GRACE were cut off")


@asynccontextmanager
async def serving(
    gateway: Gateway, bound: socket.socket, log: AccessLog | None = None
) -> AsyncGenerator[None, None]:
    """Answer on the socket until the block is left; what is still under way then is cut off."""
    # What aiohttp answers by itself, to requests that it cannot parse, is signed like the rest.
    vars(web_response)["SERVER_SOFTWARE"] = SERVER
    runner = web.AppRunner(
        create_app(gateway, log),
        access_log=None,
        handle_signals=False,
        shutdown_timeout=1.0,
        keepalive_timeout=KEEPALIVE_SECONDS,
        auto_decompress=False,
        read_bufsize=READ_BUFFER_BYTES,
        max_line_size=gateway.limits.path_bytes + 1024,
        max_field_size=16 * 1024,
    )
    await runner.setup()
    try:
        assert runner.server is not None
        runner.server.request_handler = fast_lane(gateway, log, runner.server.request_handler)
        runner.server.request_factory = readable(runner.server.request_factory)
        await web.SockSite(runner, bound, backlog=BACKLOG).start()
        yield
    finally:
        await runner.cleanup()


def readable(make: _RequestFactory) -> _RequestFactory:
    """aiohttp asks an absolute target (RFC 9112 section 3.2.2) for its host where nobody catches what that
    raises: a name such as `xn--` would leave the client without an answer, and the connection open."""

    def made(message: RawRequestMessage, *rest: Any) -> web.BaseRequest:
        if not message.path.startswith("/"):
            try:
                _ = message.url.host
            except ValueError:
                parts = urlsplit(message.path)
                path = URL.build(path=parts.path or "/", query_string=parts.query, encoded=True)
                message = message._replace(url=path)
        return make(message, *rest)

    return made


def _stop_signal(parent: int | None) -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if parent is not None:
        # The parent holds the other end: readable means that it is gone, in whatever way.
        def parent_is_gone() -> None:
            loop.remove_reader(parent)
            stop.set()

        loop.add_reader(parent, parent_is_gone)
    return stop


def _require_c_parser() -> None:
    # aiohttp falls back without a word to its pure-Python parser, the one with the request
    # smuggling advisories (CVE-2023-47627, CVE-2024-23829, CVE-2025-53643).
    if HttpRequestParser is HttpRequestParserPy:
        raise RuntimeError("aiohttp's C parser is not there; install aiohttp from a wheel")
