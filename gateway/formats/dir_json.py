"""`?format=dir-json`: a directory as data, a page at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import aclosing

from gateway.formats.content_headers import content_headers
from gateway.representation import Representation
from gateway.request import ContentRequest
from ipld.blocks import BlockReader
from ipld.cid import DAG_PB, RAW, Cid, codec_name
from ipld.errors import IpldError, NotUnixFs
from ipld.lookahead import in_order
from ipld.paths import Found
from ipld.unixfs.node import Kind, Link, Node, decode_node
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
    nodes = await _nodes(blocks, entries)
    page = {
        "cid": str(found.cid),
        "path": wanted.path.encoded(),
        "entries": [_described(entry, node) for entry, node in zip(entries, nodes, strict=True)],
        "cursor": following,
    }
    text = await asyncio.to_thread(json.dumps, page)
    return Representation(
        content_type=f"{MEDIA_TYPE}; charset=utf-8",
        etag=f'"{found.cid}.dir-json.{wanted.limit}.{wanted.cursor}"',
        headers=content_headers(wanted, found) | {"X-Content-Type-Options": "nosniff"},
        body=text.encode() + b"\n",
    )


async def _nodes(blocks: BlockReader, entries: Sequence[Link]) -> list[Node | None]:
    """The root nodes of the children; None for one that is not here, or is no UnixFS."""

    async def get(cid: Cid) -> bytes:
        try:
            return await blocks.get(cid)
        except IpldError:
            return b""

    asked = [entry.cid for entry in entries if entry.cid.codec == DAG_PB]
    nodes: dict[bytes, Node | None] = {}
    async with aclosing(in_order(get, asked, AHEAD)) as found:
        for cid in asked:
            nodes[cid.raw] = _node(cid, await anext(found))
    return [nodes.get(entry.cid.raw) for entry in entries]


def _node(cid: Cid, block: bytes) -> Node | None:
    try:
        return decode_node(cid, block) if block else None
    except (IpldError, NotUnixFs):
        return None


def _described(entry: Link, node: Node | None) -> dict[str, object]:
    described: dict[str, object] = {
        "name": entry.name.encode("utf-8", "replace").decode(),
        "cid": str(entry.cid),
        "size": entry.tsize,
        "type": "file" if entry.cid.codec == RAW else None,
        "mode": None,
        "mtime": None,
    }
    if node is None:
        if entry.cid.codec not in (RAW, DAG_PB):
            described["type"] = codec_name(entry.cid.codec)
        return described
    described["type"] = _TYPES.get(node.kind, "file")
    if node.kind in (Kind.FILE, Kind.RAW):
        described["size"] = node.size
    described["mode"] = None if node.mode is None else f"{node.mode & 0o7777:04o}"
    described["mtime"] = None if node.mtime is None else node.mtime.seconds + node.mtime.nanoseconds / 1e9
    return described
