"""Bodies that lie in files on their way to the socket inside the kernel: nothing is copied through Python.

uvloop knows no sendfile, and asyncio's own would wait for the disk on the loop. Here a call whose
bytes are in the page cache is made at once, any other one in a thread; on a duplicate of the socket,
which the loop may watch while the transport keeps its own.
"""

from __future__ import annotations

import asyncio
import errno
import mmap
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address

from aiohttp import web

from ipld.blocks import Buffer, FileSpan

# One call takes what the socket has room for, which is less on every machine.
CALL_BYTES = 2 * 1024 * 1024
# The kernel's readahead is at least this large.
SAMPLE_BYTES = 128 * 1024
_SAMPLE = bytearray(1)
# As much is mapped at once.
MAPPED_BYTES = 1024 * 1024
# Less than this waits for what comes next, so that both take one packet and one call.
HELD_BYTES = 16 * 1024
# More is to come: no packet for these bytes alone.
_MORE: int = getattr(socket, "MSG_MORE", 0)


class ClientLeft(ConnectionError):
    """Nobody reads the response any more."""


def can_sendfile(request: web.Request) -> bool:
    """Whether bytes may go around the transport: a plain socket, nothing encrypts on the way."""
    transport = request.transport
    return (
        hasattr(os, "sendfile")
        and transport is not None
        and transport.get_extra_info("sslcontext") is None
        and transport.get_extra_info("socket") is not None
    )


@asynccontextmanager
async def bare_socket(request: web.Request, sent: Callable[[int], None]) -> AsyncIterator[BareSocket]:
    """The socket of a response whose headers were written; until the end nothing else may write to it.

    `sent` is told of the bytes of the body as they go. Raises ClientLeft.
    """
    transport, writer = request.transport, request.writer
    if transport is None:
        raise ClientLeft
    # What aiohttp and the transport still hold has to go first.
    writer.send_headers()
    transport.set_write_buffer_limits(high=0)
    try:
        await writer.drain()
    finally:
        transport.set_write_buffer_limits()
    with transport.get_extra_info("socket").dup() as own:
        own.setblocking(False)
        yield BareSocket(own, sent, chunked=getattr(writer, "chunked", False))


class BareSocket:
    """Sends the rest of a body, in chunks where the length was not said (RFC 9112 section 7.1)."""

    def __init__(self, own: socket.socket, sent: Callable[[int], None], *, chunked: bool) -> None:
        self._socket = own
        self._sent = sent
        self._chunked = chunked
        self._is_near = _is_loopback(own)
        self._held = bytearray()
        # Bytes of the body that wait for what comes next.
        self.waiting = 0

    async def send(self, piece: Buffer) -> None:
        """Raises ClientLeft."""
        self._begin_chunk(len(piece))
        if len(self._held) + len(piece) <= HELD_BYTES:
            self._held += piece
            self.waiting += len(piece)
        else:
            await self._send_held()
            await self._send_all(memoryview(piece).cast("B"), self._sent)
        self._end_chunk()

    async def send_span(self, span: FileSpan) -> None:
        """Raises ClientLeft, and EOFError where the file is shorter than the span."""
        self._begin_chunk(len(span))
        await self._send_held()
        position = cached = span.start
        while position < span.stop:
            count = min(CALL_BYTES, span.stop - position)
            cached = max(cached, position)
            if cached < position + count and _is_cached(span.descriptor, cached, position + count):
                cached = position + count
            taken = await self._send_file(
                span.descriptor, position, count, at_once=cached >= position + count
            )
            if taken is None:
                await self._writable()
                continue
            if not taken:
                raise EOFError(f"the file ends at byte {position} of {span.stop}")
            position += taken
            self._sent(taken)
        self._end_chunk()

    async def flush(self) -> None:
        """The end of the body: what waits goes out."""
        await self._send_held(flags=0)

    def _begin_chunk(self, size: int) -> None:
        if self._chunked:
            self._held += b"%x\r\n" % size

    def _end_chunk(self) -> None:
        if self._chunked:
            self._held += b"\r\n"

    async def _send_held(self, flags: int = _MORE) -> None:
        held, self._held = self._held, bytearray()
        body, self.waiting = self.waiting, 0
        await self._send_all(memoryview(held), lambda _count: None, flags)
        self._sent(body)

    async def _send_all(self, view: memoryview, sent: Callable[[int], None], flags: int = 0) -> None:
        while view:
            try:
                count = self._socket.send(view, flags)
            except BlockingIOError:
                await self._writable()
                continue
            except ConnectionError as error:
                raise ClientLeft from error
            sent(count)
            view = view[count:]

    async def _send_file(self, descriptor: int, position: int, count: int, *, at_once: bool) -> int | None:
        """How much the socket took; None where it is full."""
        target = self._socket.fileno()
        try:
            if at_once and self._is_near:
                return _send_mapped(self._socket, descriptor, position, min(count, MAPPED_BYTES))
            if at_once:
                return os.sendfile(target, descriptor, position, count)
            # The thread may outlive a handler that is cancelled, so it has a descriptor of its own.
            source = os.dup(descriptor)
            return await asyncio.to_thread(_sendfile, target, source, position, count)
        except BlockingIOError:
            return None
        except ConnectionError as error:
            raise ClientLeft from error

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(self._socket.fileno(), ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(self._socket.fileno())


def _is_cached(descriptor: int, start: int, stop: int) -> bool:
    """Whether samples of the bytes are in the page cache. The kernel reads a disk in pieces no smaller
    than their distance, so what lies between two of them is most likely there, too."""
    try:
        for sample in range(start, stop, SAMPLE_BYTES):
            os.preadv(descriptor, [_SAMPLE], sample, os.RWF_NOWAIT)
        os.preadv(descriptor, [_SAMPLE], stop - 1, os.RWF_NOWAIT)
    except (OSError, AttributeError):
        return False
    return True


def _is_loopback(connection: socket.socket) -> bool:
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    # No peer any more, or an address with a zone, which the loopback has not.
    with suppress(OSError, ValueError):
        return ip_address(connection.getpeername()[0]).is_loopback
    return False


def _send_mapped(target: socket.socket, descriptor: int, position: int, count: int) -> int:
    """One copy, out of the page cache into the socket; 0 where the file is shorter.

    Where both ends are on this machine that is faster than to hand over single pages. The mapping goes
    before anybody waits, so that no memory seems to be taken by readers who are slow.
    """
    start = position - position % mmap.ALLOCATIONGRANULARITY
    try:
        with (
            mmap.mmap(descriptor, position + count - start, access=mmap.ACCESS_READ, offset=start) as mapped,
            memoryview(mapped) as view,
            view[position - start :] as wanted,
        ):
            return target.send(wanted)
    except ValueError:
        return 0
    except OSError as error:
        # The file was cut after it was mapped: the kernel says so, no signal comes.
        if error.errno == errno.EFAULT:
            return 0
        raise


def _sendfile(target: int, source: int, position: int, count: int) -> int:
    try:
        return os.sendfile(target, source, position, count)
    finally:
        os.close(source)
