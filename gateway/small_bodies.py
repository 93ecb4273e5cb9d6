"""Bodies whose size only reading tells: read when a GET wants them, and kept if they turn out small."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

from gateway.representation import TO_THE_END, Later, Read, Representation
from gateway.streaming import SendLimits
from ipld.blocks import FileSpan, Piece

# So much is made before the first byte goes out: what is small has a length, a status for every failure, and
# is kept as any small body is.
SMALL_BYTES = 2 * 1024 * 1024
# Seconds that this may take; what comes slower goes out as it comes.
SMALL_SECONDS = 2.0

# What is sent instead where reading showed that the headers promise too much; never kept. It is given the
# body, or None where that is not small and the headers go out before its end.
Instead = Callable[[Representation, bytes | None], Representation | None]


def _never(_shown: Representation, _body: bytes | None) -> None:
    return None


def made_later(shown: Representation, instead: Instead = _never) -> Representation:
    """The same answer, but HEAD and 304 read nothing of its body, and a GET whose body is small keeps it."""

    # What is sent may have headers by then that were added to what this was given.
    async def make(sent: Representation, limits: SendLimits) -> tuple[Representation, bool]:
        sent = replace(sent, later=None)
        assert sent.read is not None
        pieces = sent.read(0, TO_THE_END)
        try:
            start, after = await _start(pieces, limits.retrieval_timeout)
        except BaseException:
            await pieces.aclose()
            raise
        if after is not None:
            return replace(instead(sent, None) or sent, read=_rest([start, after], pieces)), False
        body = bytes(start)
        other = instead(sent, body)
        return (other, False) if other is not None else (replace(sent, body=body, read=None), True)

    return replace(shown, later=Later(make))


async def _start(pieces: AsyncGenerator[Piece, None], timeout: float) -> tuple[bytearray, Piece | None]:
    """The first pieces, and what comes next, None for the end; TimeoutError where one takes too long."""
    clock = asyncio.get_running_loop().time
    until = clock() + SMALL_SECONDS
    body = bytearray()
    async with asyncio.timeout(timeout) as deadline:
        while len(body) <= SMALL_BYTES and clock() < until:
            piece = await anext(pieces, None)
            if piece is None:
                return body, None
            if isinstance(piece, FileSpan):
                # Small it is not, and the kernel sends the span better than we.
                if len(body) + len(piece) > SMALL_BYTES:
                    return body, piece
                piece = await _bytes_of(piece)
            body += piece
            deadline.reschedule(clock() + timeout)
    return body, b""


async def _bytes_of(span: FileSpan) -> bytes:
    async with aclosing(span.read(span.start, span.stop)) as parts:
        return b"".join([part async for part in parts])


def _rest(first: list[Piece], pieces: AsyncGenerator[Piece, None]) -> Read:
    async def read(_start: int, _stop: int) -> AsyncGenerator[Piece, None]:
        async with aclosing(pieces):
            # Not kept for as long as the rest takes.
            while first:
                yield first.pop(0)
            async for piece in pieces:
                yield piece

    return read
