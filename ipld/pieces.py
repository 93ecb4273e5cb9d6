"""Streams in which some pieces are spans of files."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from ipld.blocks import Buffer, FileSpan, Piece


async def buffers(pieces: AsyncGenerator[Piece, None]) -> AsyncGenerator[Buffer, None]:
    """The same stream with every span read; closes it when it is closed itself."""
    async with aclosing(pieces):
        async for piece in pieces:
            if not isinstance(piece, FileSpan):
                yield piece
                continue
            async with aclosing(piece.read(piece.start, piece.stop)) as parts:
                async for part in parts:
                    yield part
