"""What TAR and ZIP have in common: a walk over a directory becomes one stream of bytes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from gateway.formats.content_headers import content_headers
from gateway.headers import content_disposition
from gateway.representation import Representation
from gateway.request import ContentRequest
from gateway.small_bodies import made_later
from ipld.blocks import BlockReader, Buffer, Piece
from ipld.paths import Found
from ipld.unixfs.node import decode_node

# Small pieces are collected: an archive of small files is mostly headers, and an error among the
# first of them still has a status of its own.
PIECE_BYTES = 256 * 1024

Pack = Callable[[BlockReader, Found, str], AsyncGenerator[Buffer, None]]


async def represent_archive(
    blocks: BlockReader, wanted: ContentRequest, found: Found, kind: tuple[str, str, str], pack: Pack
) -> Representation:
    """`kind` is the media type, the suffix of the ETag and the ending of the file name.

    Raises NotUnixFs (406) for what has no files.
    """
    media_type, tag, ending = kind
    decode_node(found.cid, await blocks.get(found.cid))
    headers = content_headers(wanted, found)
    name = wanted.filename or f"{found.cid}{ending}"
    headers["Content-Disposition"] = content_disposition(name, attachment=True)
    headers["X-Content-Type-Options"] = "nosniff"

    async def read(_start: int, _stop: int) -> AsyncGenerator[Piece, None]:
        async with aclosing(collected(pack(blocks, found, str(found.cid)))) as pieces:
            async for piece in pieces:
                yield piece

    return made_later(
        Representation(
            content_type=media_type,
            etag=f'W/"{found.cid}.{tag}"',
            headers=headers,
            read=read,
            accept_ranges=False,
        )
    )


async def collected(pieces: AsyncGenerator[Buffer, None]) -> AsyncGenerator[Buffer, None]:
    """The same stream in pieces that are not small."""
    buffer = bytearray()
    async with aclosing(pieces):
        async for piece in pieces:
            if len(buffer) + len(piece) > PIECE_BYTES and buffer:
                yield buffer
                buffer = bytearray()
            if len(piece) >= PIECE_BYTES:
                yield piece
            else:
                buffer += piece
    if buffer:
        yield buffer
