"""Bytes out of an open object: exact lengths, whole spans, blocks with their wrapping."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from ipld.blocks import Buffer, FileSpan, Piece
from ipld.errors import BlockCorrupt
from ipld.unixfs.node import leaf_wrapping
from storage.index import Location
from storage.objects import ObjectNotFound, ObjectReader


class Cutter:
    """Takes exact lengths out of a stream of pieces."""

    def __init__(self, pieces: AsyncGenerator[Buffer, None]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    async def take(self, length: int) -> bytes:
        """Raises ObjectNotFound where the stream ends before."""
        parts = []
        while length:
            if not self._rest:
                self._rest = memoryview(await anext(self._pieces, b""))
                if not self._rest:
                    raise ObjectNotFound("the object ended early")
            parts.append(self._rest[:length])
            self._rest = self._rest[length:]
            length -= len(parts[-1])
        return b"".join(parts)


async def read_all(source: ObjectReader, start: int, stop: int) -> bytes:
    """The bytes of a short span."""
    async with aclosing(source.read(start, stop)) as pieces:
        return b"".join([piece async for piece in pieces])


async def checked_span(source: ObjectReader, start: int, stop: int) -> AsyncGenerator[Piece, None]:
    """Checked bytes: as a span where the object is a file, which must still be long enough."""
    span = file_span(source, start, stop)
    if span is None:
        async with aclosing(source.read(start, stop)) as pieces:
            async for piece in pieces:
                yield piece
    elif start < stop:
        yield span


def file_span(source: ObjectReader, start: int, stop: int) -> FileSpan | None:
    """Checked bytes of an object that is a file; None where it is none, or shorter."""
    if source.descriptor is None or stop > source.size:
        return None
    return FileSpan(source.descriptor, start, stop, partial(_read_checked, source))


async def _read_checked(source: ObjectReader, start: int, stop: int) -> AsyncGenerator[Buffer, None]:
    """The bytes of a span that was given out: it is too late to look for another copy."""
    try:
        async with aclosing(source.read(start, stop)) as pieces:
            async for piece in pieces:
                yield piece
    except ObjectNotFound as error:
        raise BlockCorrupt("an object changed while it was read") from error


def wrap(data: bytes, copy: Location) -> bytes:
    """The block whose span is `data`."""
    before, after = wrapping(copy)
    return b"".join((before, data, after)) if before else data


def wrapping(copy: Location) -> tuple[bytes, bytes]:
    """What stands before and after the span in the block."""
    return leaf_wrapping(copy.length) if copy.wrapped else (b"", b"")
