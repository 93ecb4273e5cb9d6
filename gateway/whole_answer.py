"""An answer out of memory: its head, made once, and its body leave in one write.

aiohttp completes, checks and serializes the headers of every response anew, which takes a third of such a
request.
"""

from __future__ import annotations

import re
import time
from functools import lru_cache, partial
from http import HTTPStatus

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_exceptions import ClientConnectionResetError

from gateway.context import Gateway
from gateway.headers import CORS, http_date
from gateway.representation import Representation
from gateway.request_id import HEADER
from gateway.response_headers import SERVER
from gateway.streaming import break_connection, bytes_waiting, stall_limit
from gateway.traffic import Traffic

# Larger bodies are not copied behind their head; the event loop sends both with one system call all the same.
AT_ONCE_BYTES = 16 * 1024
# A head that is longer is not worth to be kept beside its answer.
_HEAD_BYTES = 4096

_IN_COMMON = {name.lower() for name in CORS}
# RFC 9110 section 5.5: nothing of a header may look like its end.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class WholeAnswer(web.StreamResponse):
    """For a connection that stays open: its head does not say that it is closed."""

    def __init__(self, head: bytes, body: bytes, traffic: Traffic, patience: float) -> None:
        super().__init__()
        self._head = head
        self._content = body
        self._traffic = traffic
        self._patience = patience

    @property
    def keep_alive(self) -> bool:
        """What the connection is told after the answer."""
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Nothing is left to be said; remembers where the answer goes."""
        self._request = request
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Send it. Raises ConnectionError."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("Cannot write to closing transport")
        if len(self._content) <= AT_ONCE_BYTES:
            transport.write(self._head + self._content)
        else:
            transport.write(self._head)
            transport.write(self._content)
        if self._request.protocol.writing_paused:
            await self._until_read()

    async def _until_read(self) -> None:
        """A client that reads slowly is a request under way; one that does not read is left."""
        try:
            with self._traffic.request(exempt=True):
                async with stall_limit(self._patience, partial(bytes_waiting, self._request)):
                    await self._request.writer.drain()
        except TimeoutError:
            break_connection(self._request)


def whole_answer(
    gateway: Gateway, request: web.BaseRequest, shown: Representation, identifier: str
) -> web.StreamResponse:
    """The answer with a body that is at hand, in the cheapest way that the connection allows."""
    body = shown.body or b""
    if request.version == HttpVersion11 and request.keep_alive:
        if shown.head is None:
            shown.keep_head(_head(shown))
        if shown.head:
            head = b"%b%b%b" % (shown.head, identifier.encode(), _tail(int(time.time())))
            return WholeAnswer(head, body, gateway.traffic, gateway.limits.send.retrieval_timeout)
    response = web.Response(body=body, status=shown.status, headers=shown.wire)
    response.headers[HEADER] = identifier
    response.headers[hdrs.SERVER] = SERVER
    return response


def _head(shown: Representation) -> bytes:
    """From the status line to the name of the header with the identifier, without what all answers have in
    common. Empty where that is otherwise, or a header must not be sent as it is, which aiohttp then says."""
    wire = shown.wire
    if any(wire.getall(name, []) != [value] for name, value in CORS.items()):
        return b""
    own = [(name, value) for name, value in wire.items() if name.lower() not in _IN_COMMON]
    if any(_CONTROL.search(name) or _CONTROL.search(value) for name, value in own):
        return b""
    lines = [f"HTTP/1.1 {shown.status} {HTTPStatus(shown.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in own]
    head = "\r\n".join([*lines, f"{HEADER}: "]).encode()
    return head if len(head) <= _HEAD_BYTES else b""


@lru_cache(maxsize=2)
def _tail(now: int) -> bytes:
    """What follows the identifier, in the present second."""
    lines = [f"{name}: {value}" for name, value in CORS.items()]
    lines += [f"{hdrs.SERVER}: {SERVER}", f"{hdrs.DATE}: {http_date(now)}"]
    return "".join(f"\r\n{line}" for line in lines).encode() + b"\r\n\r\n"
