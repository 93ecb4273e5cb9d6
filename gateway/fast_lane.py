"""Hot content, answered before routing: most requests of a busy gateway are for a few small bodies.

The application's own way through router, middlewares and signals takes twice the time of the rest
of a request. Only the plainest reads come this way (GET, no credentials, no conditions, an answer
that is at hand); what they get is the same to the byte, and a test compares the two.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from aiohttp import hdrs, web
from multidict import istr

from gateway.access_log import AccessLog, Line
from gateway.context import Gateway
from gateway.request import accept_of
from gateway.request_id import HEADER, request_id
from gateway.whole_answer import whole_answer

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

# A body that is at hand is shared by all who read it: room for a listing of a thousand entries.
AT_HAND_BYTES = 512 * 1024

# What makes a request more than a plain read.
_SPECIAL = (
    hdrs.AUTHORIZATION,
    hdrs.RANGE,
    hdrs.IF_NONE_MATCH,
    hdrs.IF_MODIFIED_SINCE,
    hdrs.IF_MATCH,
    hdrs.IF_UNMODIFIED_SINCE,
    hdrs.EXPECT,
    hdrs.CACHE_CONTROL,
    istr("X-API-Key"),
    istr("Service-Worker"),
)


def fast_lane(gateway: Gateway, access_log: AccessLog | None, rest: Handler) -> Handler:
    """A handler that answers plain reads of remembered answers, and gives `rest` all others."""
    answers = gateway.answers
    traffic = gateway.traffic
    metrics = gateway.metrics
    hosts = gateway.hosts
    proxies = gateway.proxies

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.method != hdrs.METH_GET or traffic.full:
            return await rest(request)
        headers = request.headers
        origin = hosts.known(proxies.host(request))
        if origin is None:
            return await rest(request)
        target, accept = request.raw_path, accept_of(request)
        shown = None if origin.key is None else answers.get((origin.key + target, accept))
        website = origin.site if origin.website_key is None else ""
        if shown is None and origin.website_key is not None:
            shown, website = answers.get((origin.website_key + target, accept)), origin.site
        if shown is None or shown.body is None or len(shown.body) > AT_HAND_BYTES or _is_special(request):
            return await rest(request)
        started = time.perf_counter()
        identifier = request_id(headers.get(HEADER))
        response = whole_answer(gateway, request, shown, identifier)
        metrics.hit(shown.status, len(shown.body))
        if access_log is not None:
            line = _line(request, identifier, shown.status, len(shown.body), started)
            access_log.add(replace(line, host=website) if website else line)
        return response

    return handle


def _is_special(request: web.BaseRequest) -> bool:
    headers = request.headers
    for name in _SPECIAL:
        if name in headers:
            return True
    return request.body_exists


def _line(request: web.BaseRequest, identifier: str, status: int, size: int, started: float) -> Line:
    milliseconds = (time.perf_counter() - started) * 1000
    agent = request.headers.get(hdrs.USER_AGENT, "-")
    return Line(
        identifier, request.method, request.raw_path, status, size, milliseconds, "-", "memory", agent
    )
