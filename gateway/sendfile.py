"""Spans of files on their way to the socket inside the kernel: nothing is copied through Python.

uvloop knows no sendfile, and asyncio's own would wait for the disk on the loop. Here a call whose
bytes are in the page cache is made at once, any other one in a thread; on a duplicate of the socket,
which the loop may watch while the transport keeps its own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from aiohttp import web

from ipld.blocks import FileSpan

# One call takes what the socket has room for, which is less on every machine.
CALL_BYTES = 2 * 1024 * 1024
# The kernel's readahead is at least this large.
SAMPLE_BYTES = 128 * 1024
_SAMPLE = bytearray(1)


def can_sendfile(request: web.Request) -> bool:
    """Whether bytes may go around the transport: a plain socket, nothing encrypts on the way."""
    transport = request.transport
    return (
        hasattr(os, "sendfile")
        and transport is not None
        and transport.get_extra_info("sslcontext") is None
        and transport.get_extra_info("socket") is not None
    )


async def send_span(request: web.Request, span: FileSpan, sent: Callable[[int], None]) -> None:
    """Send the bytes of the span, telling `sent` of each step. Raises OSError where the client left.

    Raises EOFError where the file is shorter than the span.
    """
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client left")
    # What aiohttp and the transport still hold has to go first.
    request.writer.send_headers()
    transport.set_write_buffer_limits(high=0)
    try:
        await request.writer.drain()
    finally:
        transport.set_write_buffer_limits()
    with transport.get_extra_info("socket").dup() as own:
        position = span.start
        while position < span.stop:
            count = await _send_some(own.fileno(), span, position)
            if count is None:
                await _writable(own.fileno())
                continue
            position += count
            sent(count)


async def _send_some(target: int, span: FileSpan, position: int) -> int | None:
    """How much the socket took; None where it is full."""
    count = min(CALL_BYTES, span.stop - position)
    try:
        if _is_cached(span.descriptor, position, count):
            taken = os.sendfile(target, span.descriptor, position, count)
        else:
            # The thread may outlive a handler that is cancelled, so it has a descriptor of its own.
            source = os.dup(span.descriptor)
            taken = await asyncio.to_thread(_sendfile, target, source, position, count)
    except BlockingIOError:
        return None
    if not taken:
        raise EOFError(f"the file ends at byte {position} of {span.stop}")
    return taken


def _is_cached(descriptor: int, position: int, count: int) -> bool:
    """Whether samples of the bytes are in the page cache. The kernel reads a disk in pieces no smaller
    than their distance, so what lies between two of them is most likely there, too."""
    try:
        for sample in range(position, position + count, SAMPLE_BYTES):
            os.preadv(descriptor, [_SAMPLE], sample, os.RWF_NOWAIT)
        os.preadv(descriptor, [_SAMPLE], position + count - 1, os.RWF_NOWAIT)
    except (OSError, AttributeError):
        return False
    return True


def _sendfile(target: int, source: int, position: int, count: int) -> int:
    try:
        return os.sendfile(target, source, position, count)
    finally:
        os.close(source)


async def _writable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(descriptor)
