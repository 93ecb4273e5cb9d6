"""A UnixFS file (or symlink) as its bytes."""

from __future__ import annotations

from contextlib import aclosing

from gateway.formats.content_headers import content_headers, disposition, last_modified
from gateway.formats.content_type import BINARY, HEAD_BYTES, content_type
from gateway.formats.media_types import type_of_name
from gateway.representation import Representation
from gateway.request import ContentRequest
from gateway.streaming import WHOLE_BYTES
from ipld.blocks import BlockReader
from ipld.cid import Cid
from ipld.errors import BlockNotFound
from ipld.paths import Found
from ipld.unixfs.node import Kind
from ipld.unixfs.reader import UnixFile, open_file

SYMLINK = "inode/symlink"


async def represent_file(
    blocks: BlockReader, wanted: ContentRequest, found: Found, *, index_of: Cid | None = None
) -> Representation:
    """`index_of` is the directory whose index.html this is: its CID is the one that the ETag names."""
    file = await open_file(blocks, found.cid)
    body = await _whole(file)
    name = wanted.filename or (wanted.path.segments[-1] if wanted.path.segments else None)
    media_type = "text/html" if index_of is not None else await _media_type(file, name, body)
    mtime = file.mtime.seconds + file.mtime.nanoseconds / 1e9 if file.mtime is not None else None
    return Representation(
        content_type=media_type,
        etag=f'"{index_of or found.cid}"',
        size=file.size,
        headers=content_headers(wanted, found) | disposition(wanted, name or str(found.cid)),
        last_modified=last_modified(found, mtime),
        body=body,
        read=None if body is not None else file.pieces,
        kept_bytes=file.kept_bytes,
    )


async def _media_type(file: UnixFile, name: str | None, body: bytes | None) -> str:
    if file.kind == Kind.SYMLINK:
        return SYMLINK
    known = type_of_name(name) if name else None
    if known is not None:
        return known
    try:
        head = body[:HEAD_BYTES] if body is not None else await _read(file, HEAD_BYTES)
    except BlockNotFound:
        # A range of a file whose beginning is not here can be served all the same.
        return BINARY
    return content_type(None, head)


async def _whole(file: UnixFile) -> bytes | None:
    """A small body at once; None for a large one, and for one of which blocks are missing."""
    if file.size > WHOLE_BYTES:
        return None
    try:
        return await _read(file, file.size)
    except BlockNotFound:
        return None


async def _read(file: UnixFile, stop: int) -> bytes:
    async with aclosing(file.read(0, stop)) as pieces:
        return b"".join([piece async for piece in pieces])
