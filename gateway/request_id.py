"""One id per request, in the answer and in every log line about it."""

from __future__ import annotations

import itertools
import re
import secrets

from aiohttp import web
from multidict import istr

HEADER = istr("X-Request-Id")
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)

# A proxy's id is taken over only where it can do no harm in a header or a log line.
_SANE = re.compile(r"[A-Za-z0-9._~+/=-]{1,64}")

# Random per process, counted within it: unique over a fleet without asking the kernel on every request.
_prefix = secrets.token_hex(6)
_numbers = itertools.count(1)


def request_id(incoming: str | None) -> str:
    """The id that came with the request if it is an ASCII token of at most 64 characters, else a new one."""
    if incoming is not None and _SANE.fullmatch(incoming):
        return incoming
    return f"{_prefix}-{next(_numbers):x}"


def id_of(request: web.BaseRequest) -> str:
    """The id of a request, given on first use."""
    known = request.get(REQUEST_ID)
    if known is None:
        known = request[REQUEST_ID] = request_id(request.headers.get(HEADER))
    return known
