"""`?format=dir-json`: a directory as data, a page at a time."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence

from gateway.formats.content_headers import content_headers
from gateway.representation import Representation
from gateway.request import ContentRequest
from ipld.blocks import BlockReader
from ipld.cid import DAG_PB, RAW, Cid, codec_name
from ipld.errors import BlockCorrupt, BlockNotFound, MalformedBlock, NotUnixFs
from ipld.paths import Found
from ipld.unixfs.node import Kind, Link, decode_node
from ipld.unixfs.paging import page_of

MEDIA_TYPE = "application/vnd.cidgate.dir+json"
# Only a child's own block tells its type, mode and time; so many are asked for at once.
AHEAD = 16
_TYPES = {Kind.DIRECTORY: "directory", Kind.SHARD: "directory", Kind.SYMLINK: "symlink"}


async def represent_dir_json(blocks: BlockReader, wanted: ContentRequest, found: Found) -> Representation:
    """`{"cid", "path", "entries": [{"name", "cid", "size", "type", "mode", "mtime"}], "cursor"}`.

    `size` is that of a file, and of everything below a directory; what is not known is null. Raises
    NotUnixFs (406) for what is no directory, and InvalidCursor.
    """
    entries, following = await page_of(blocks, found.cid, wanted.cursor, wanted.limit)
    known = await _details(blocks, entries)
    page = {
        "cid": str(found.cid),
        "path": wanted.path.encoded(),
        "entries": [_described(entry, known.get(entry.cid.raw)) for entry in entries],
        "cursor": following,
    }
    text = await asyncio.to_thread(json.dumps, page)
    headers = content_headers(wanted, found) | {"X-Content-Type-Options": "nosniff"}
    etag = f'"{found.cid}.dir-json.{wanted.limit}.{wanted.cursor}"'
    if _MISSING in known.values():
        # What is missing may come, and then the same page says more.
        headers["Cache-Control"] = "no-cache"
        etag = f'W/"{found.cid}.dir-json.{hashlib.sha256(text.encode()).hexdigest()[:16]}"'
    return Representation(
        content_type=f"{MEDIA_TYPE}; charset=utf-8", etag=etag, headers=headers, body=text.encode() + b"\n"
    )


# What a child's own block says. Never the block itself: a page of large directories would hold all of theirs.
_Details = Mapping[str, str | int | float | None]
_MISSING: _Details = {"type": None}
_NO_UNIXFS: _Details = {"type": codec_name(DAG_PB)}


async def _details(blocks: BlockReader, entries: Sequence[Link]) -> Mapping[bytes, _Details]:
    """By the child's CID; StoreUnavailable where that cannot be told now."""

    async def get(cid: Cid) -> bytes | None:
        try:
            return await blocks.get(cid)
        except (BlockNotFound, BlockCorrupt):
            return None

    known: dict[bytes, _Details] = {}
    asked = list(dict.fromkeys(entry.cid for entry in entries if entry.cid.codec == DAG_PB))
    # In small groups: each is forgotten before the next one comes.
    for start in range(0, len(asked), AHEAD):
        group = asked[start : start + AHEAD]
        found = await asyncio.gather(*map(get, group))
        known |= {cid.raw: _detail(cid, block) for cid, block in zip(group, found, strict=True)}
    return known


def _detail(cid: Cid, block: bytes | None) -> _Details:
    if block is None:
        return _MISSING
    try:
        node = decode_node(cid, block)
        detail: dict[str, str | int | float | None] = {"type": _TYPES.get(node.kind, "file")}
        if node.kind in (Kind.FILE, Kind.RAW):
            detail["size"] = node.size
    except (NotUnixFs, MalformedBlock):
        return _NO_UNIXFS
    if node.mode is not None:
        detail["mode"] = f"{node.mode & 0o7777:04o}"
    if node.mtime is not None:
        detail["mtime"] = node.mtime.seconds + node.mtime.nanoseconds / 1e9
    return detail


def _described(entry: Link, details: _Details | None) -> dict[str, object]:
    described: dict[str, object] = {
        "name": entry.name.encode("utf-8", "replace").decode(),
        "cid": str(entry.cid),
        "size": entry.tsize,
        "type": "file" if entry.cid.codec == RAW else codec_name(entry.cid.codec),
        "mode": None,
        "mtime": None,
    }
    return described | dict(details or {})
