"""An answer out of memory: its head, made once, and its body leave in one write.

aiohttp completes, checks and serializes the headers of every response anew, which takes a third of such a
request.
"""

from __future__ import annotations

import re
import time
from functools import lru_cache
from http import HTTPStatus

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter

from gateway.headers import http_date
from gateway.representation import Representation
from gateway.request_id import HEADER
from gateway.response_headers import SERVER

# Larger bodies are not copied behind their head; the event loop sends both with one system call all the same.
AT_ONCE_BYTES = 16 * 1024

# RFC 9110 section 5.5: nothing of a header may look like its end.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class WholeAnswer(web.StreamResponse):
    """For a connection that stays open: its head does not say that it is closed."""

    def __init__(self, head: bytes, body: bytes) -> None:
        super().__init__()
        self._head = head
        self._content = body

    @property
    def keep_alive(self) -> bool:
        """What the connection is told after the answer."""
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Nothing is left to be said; remembers where the answer goes."""
        self._out = request.writer
        return self._out

    async def write_eof(self, data: bytes = b"") -> None:
        """Send it, and wait for a client that reads slowly. Raises ConnectionError."""
        if len(self._content) <= AT_ONCE_BYTES:
            await self._out.write_eof(self._head + self._content)
        else:
            await self._out.write(self._head)
            await self._out.write_eof(self._content)


def whole_answer(request: web.BaseRequest, shown: Representation, identifier: str) -> web.StreamResponse:
    """The answer with a body that is at hand, in the cheapest way that the connection allows."""
    body = shown.body or b""
    if request.version == HttpVersion11 and request.keep_alive:
        if shown.head is None:
            shown.keep_head(_head(shown))
        if shown.head:
            return WholeAnswer(b"%b%b%b" % (shown.head, identifier.encode(), _tail(int(time.time()))), body)
    response = web.Response(body=body, status=shown.status, headers=shown.wire)
    response.headers[HEADER] = identifier
    response.headers[hdrs.SERVER] = SERVER
    return response


def _head(shown: Representation) -> bytes:
    """From the status line to the name of the last header that is always the same; empty where a header must
    not be sent as it is, which aiohttp then says."""
    wire = shown.wire
    if any(_CONTROL.search(name) or _CONTROL.search(value) for name, value in wire.items()):
        return b""
    lines = [f"HTTP/1.1 {shown.status} {HTTPStatus(shown.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in wire.items()]
    return "\r\n".join([*lines, f"{HEADER}: "]).encode()


@lru_cache(maxsize=2)
def _tail(now: int) -> bytes:
    """What follows the identifier, in the present second."""
    return f"\r\n{hdrs.SERVER}: {SERVER}\r\n{hdrs.DATE}: {http_date(now)}\r\n\r\n".encode()
