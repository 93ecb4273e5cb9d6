"""Bodies on their way to the socket: exact lengths, bounded waits, failures that never look like an end."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass

from aiohttp import web
from multidict import CIMultiDict

from gateway.sendfile import BareSocket, ClientLeft, bare_socket, can_sendfile
from ipld.blocks import Buffer, FileSpan, Piece

# One write: large enough to cost nothing per byte, small enough that a slow client pins little memory.
PIECE_BYTES = 256 * 1024
# Up to here a body is collected first: one write for headers and body, and every failure still has a status.
WHOLE_BYTES = 256 * 1024

# A client that left while we wait for a store is noticed within this many seconds.
_TICK = 1.0
# SO_LINGER of zero seconds: close() sends RST, which no client can take for the end of a body.
_RESET = struct.pack("ii", 1, 0)

# Bytes of body handed to the socket, for the access log; on streamed responses only.
BODY_BYTES: web.ResponseKey[int] = web.ResponseKey("body_bytes", int)


@dataclass(frozen=True, slots=True)
class SendLimits:
    """Bounds on one response: seconds without any progress, and ranges in one request."""

    retrieval_timeout: float = 30.0
    max_ranges: int = 16


DEFAULT_LIMITS = SendLimits()


class BrokenResponse(Exception):
    """The headers are out and the body cannot be finished; the connection was reset. The cause says why."""

    def __init__(self, response: web.StreamResponse) -> None:
        super().__init__("the response was cut off")
        self.response = response


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The status, headers and length (None: chunked) of a body that is about to be read."""

    status: int
    headers: CIMultiDict[str]
    length: int | None


async def send_whole(
    outgoing: Outgoing, pieces: AsyncGenerator[Buffer, None], limits: SendLimits
) -> web.Response:
    """A response with the whole of a small body; raises what reading raises, and TimeoutError."""
    collected: list[Buffer] = []
    size = 0
    async with aclosing(pieces), asyncio.timeout(limits.retrieval_timeout):
        async for piece in pieces:
            collected.append(piece)
            size += memoryview(piece).nbytes
            _refuse_surplus(outgoing.length, size)
    _refuse_lack(outgoing.length, size)
    return web.Response(body=b"".join(collected), status=outgoing.status, headers=outgoing.headers)


async def send_stream(
    request: web.Request,
    outgoing: Outgoing,
    pieces: AsyncGenerator[Piece, None],
    limits: SendLimits,
) -> web.StreamResponse:
    """Send the pieces as they come; the first is awaited before the headers, so its failure has a status.

    A client that leaves closes `pieces` and is no error. Raises BrokenResponse after the headers.
    """
    response = web.StreamResponse(status=outgoing.status, headers=outgoing.headers)
    stream = _Stream(request, response, outgoing.length)
    try:
        async with aclosing(pieces), stall_limit(limits.retrieval_timeout, stream.progress):
            await stream.send(pieces)
    except ClientLeft:
        break_connection(request)
        return response
    except Exception as exc:
        if not stream.has_client():
            return response
        if not request.writer.output_size:
            raise
        break_connection(request)
        raise BrokenResponse(response) from exc
    except BaseException:
        # Cancelled, at shutdown: what was sent so far must not look complete either.
        break_connection(request)
        raise
    finally:
        response[BODY_BYTES] = stream.sent
    return response


class _Stream:
    """One body on its way, and how far it has come.

    From the first span of a file on, all that is left goes around the transport.
    """

    __slots__ = ("_bare", "_length", "_request", "_response", "sent")

    def __init__(self, request: web.Request, response: web.StreamResponse, length: int | None) -> None:
        self._request = request
        self._response = response
        self._length = length
        self._bare: BareSocket | None = None
        self.sent = 0

    async def send(self, pieces: AsyncGenerator[Piece, None]) -> None:
        first = await anext(pieces, b"")
        await self._response.prepare(self._request)
        async with AsyncExitStack() as stack:
            await self._put(first, stack)
            async for piece in pieces:
                await self._put(piece, stack)
            if self._bare is not None:
                await self._bare.flush()
        _refuse_lack(self._length, self.sent)
        await self._response.write_eof()

    async def _put(self, piece: Piece, stack: AsyncExitStack) -> None:
        if not len(piece):
            return
        if isinstance(piece, FileSpan):
            await self._put_span(piece, stack)
        elif self._bare is None:
            await self._write(piece)
        else:
            view = memoryview(piece).cast("B")
            _refuse_surplus(self._length, self.sent + self._bare.waiting + len(view))
            await self._bare.send(view)

    async def _put_span(self, span: FileSpan, stack: AsyncExitStack) -> None:
        waiting = self._bare.waiting if self._bare is not None else 0
        _refuse_surplus(self._length, self.sent + waiting + len(span))
        if self._bare is None and can_sendfile(self._request):
            self._bare = await stack.enter_async_context(bare_socket(self._request, self._count))
        if self._bare is not None:
            await self._bare.send_span(span)
            return
        async with aclosing(span.read(span.start, span.stop)) as parts:
            async for part in parts:
                await self._write(part)

    def _count(self, sent: int) -> None:
        self.sent += sent

    async def _write(self, piece: Buffer) -> None:
        view = memoryview(piece).cast("B")
        _refuse_surplus(self._length, self.sent + len(view))
        for start in range(0, len(view), PIECE_BYTES):
            part = view[start : start + PIECE_BYTES]
            await self._response.write(part)
            self.sent += len(part)

    def has_client(self) -> bool:
        return bytes_waiting(self._request) is not None

    def progress(self) -> tuple[int, int] | None:
        """A value that changes whenever bytes move; None where the client has left."""
        waiting = bytes_waiting(self._request)
        return None if waiting is None else (self.sent, waiting)


def _refuse_lack(promised: int | None, size: int) -> None:
    # aiohttp ends a short body without a word: the client would wait for the rest on a live connection.
    if promised is not None and size < promised:
        raise RuntimeError(f"a body of {promised} bytes ended after {size}")


def _refuse_surplus(promised: int | None, size: int) -> None:
    if promised is not None and size > promised:
        raise RuntimeError(f"a body of {promised} bytes goes on to {size}")


def bytes_waiting(request: web.BaseRequest) -> int | None:
    """How much the client has not taken yet; None where it has left."""
    transport = request.transport
    if transport is None or transport.is_closing():
        return None
    return transport.get_write_buffer_size()


@asynccontextmanager
async def stall_limit(seconds: float, progress: Callable[[], object]) -> AsyncIterator[None]:
    """Raises TimeoutError after `seconds` without progress, or once there is nobody to send to.

    One timer looks now and then: a write costs nothing more, and a slow client that does read is not cut off.
    """
    loop = asyncio.get_running_loop()
    tick = min(_TICK, seconds / 4)
    async with asyncio.timeout(seconds) as deadline:
        last = progress()
        timer: asyncio.TimerHandle

        def look() -> None:
            nonlocal last, timer
            if deadline.expired():
                return
            now = progress()
            if now is None:
                deadline.reschedule(loop.time())
                return
            if now != last:
                last = now
                deadline.reschedule(loop.time() + seconds)
            timer = loop.call_later(tick, look)

        timer = loop.call_later(tick, look)
        try:
            yield
        finally:
            timer.cancel()


def break_connection(request: web.BaseRequest) -> None:
    """Reset the connection, so that no body can look complete, not even a close-delimited one."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


def body_bytes(response: web.StreamResponse) -> int:
    """Bytes of body that a response carries, or carried until it was cut off; for the access log."""
    if BODY_BYTES in response:
        return response[BODY_BYTES]
    body = response.body if isinstance(response, web.Response) else None
    return len(body) if isinstance(body, (bytes, bytearray)) else 0
