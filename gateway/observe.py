"""What is written down about every request: metrics and the access log."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from auth.middleware import identity_of
from gateway.access_log import AccessLog, Line
from gateway.content import SOURCE
from gateway.metrics import Metrics
from gateway.request import ORIGIN, PATH_ORIGIN
from gateway.request_id import id_of
from gateway.streaming import body_bytes

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def observe(metrics: Metrics, access_log: AccessLog | None) -> Middleware:
    """The outermost middleware: sees the response that was sent, whatever made it."""
    concurrent = metrics.concurrent

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        concurrent.inc()
        status = 499  # nginx's number for a client that left before it was answered
        sent = 0
        try:
            response = await handler(request)
            status, sent = response.status, body_bytes(response) if request.method != hdrs.METH_HEAD else 0
            return response
        except web.HTTPException as exc:
            status = exc.status
            raise
        finally:
            concurrent.dec()
            seconds = time.perf_counter() - started
            metrics.answered(status, sent, request.get(SOURCE), seconds)
            if access_log is not None:
                access_log.add(_line(request, status, sent, seconds))

    return middleware


def _line(request: web.Request, status: int, sent: int, seconds: float) -> Line:
    key = identity_of(request).key
    return Line(
        id_of(request),
        request.method,
        request.raw_path,
        status,
        sent,
        seconds * 1000,
        "-" if key is None else key.name,
        request.get(SOURCE, "-"),
        request.headers.get(hdrs.USER_AGENT, "-"),
        request.get(ORIGIN, PATH_ORIGIN).site,
    )
