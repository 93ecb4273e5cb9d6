"""`?format=dir-json`: a directory as data, a page at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

from gateway.formats.content_headers import content_headers
from gateway.formats.pages import segment
from gateway.representation import Representation
from gateway.request import ContentRequest
from gateway.small_bodies import made_later
from ipld.blocks import BlockReader
from ipld.cid import DAG_PB, RAW, Cid, codec_name
from ipld.errors import BlockCorrupt, BlockNotFound, MalformedBlock, NotUnixFs
from ipld.lookahead import in_order
from ipld.paths import Found
from ipld.unixfs.listing import directory_node
from ipld.unixfs.node import Kind, Link, decode_node
from ipld.unixfs.paging import Page

MEDIA_TYPE = "application/vnd.cidgate.dir+json"
# Only a child's own block tells its type, mode and time; so many are asked for at once.
AHEAD = 16
# Entries that go out together.
GROUP = 128
_TYPES = {Kind.DIRECTORY: "directory", Kind.SHARD: "directory", Kind.SYMLINK: "symlink"}


async def represent_dir_json(blocks: BlockReader, wanted: ContentRequest, found: Found) -> Representation:
    """`{"cid", "path", "entries": [{"name", "cid", "size", "type", "mode", "mtime"}], "cursor"}`.

    `size` is that of a file, and of everything below a directory; what is not known is null. An entry whose
    name is no UTF-8 has `encoded_name` too, percent-encoded. Raises NotUnixFs (406) for what is no directory,
    BadRequest and InvalidCursor.
    """
    limit = wanted.page_limit()
    Page(wanted.cursor, limit)
    await directory_node(blocks, found.cid)
    headers = content_headers(wanted, found) | {"X-Content-Type-Options": "nosniff"}

    def read(_start: int, _stop: int) -> AsyncGenerator[bytes, None]:
        return _text(blocks, wanted, found.cid)

    complete = Representation(
        content_type=f"{MEDIA_TYPE}; charset=utf-8",
        etag=f'"{found.cid}.dir-json.{limit}.{wanted.cursor}"',
        headers=headers,
        read=read,
        accept_ranges=False,
    )

    def instead(sent: Representation, body: bytes | None) -> Representation | None:
        # What is missing may come, and then the same page says more. Of a page that goes out while it is
        # made, nobody knows whether all of it will be there.
        if body is not None and _GAP not in body:
            return None
        etag = f'W/"{found.cid}.dir-json.{hashlib.sha256(body).hexdigest()[:16]}"' if body else None
        less = {**sent.headers, "Cache-Control": "no-cache"}
        return replace(sent, etag=etag, headers=less, body=body)

    return made_later(complete, instead)


async def _text(blocks: BlockReader, wanted: ContentRequest, cid: Cid) -> AsyncGenerator[bytes, None]:
    page = Page(wanted.cursor, wanted.page_limit())
    known: dict[bytes, _Details] = {}
    start = f'{{"cid": "{cid}", "path": {json.dumps(wanted.path.encoded())}, "entries": ['
    async with aclosing(page.groups(blocks, cid, GROUP)) as groups:
        async for group in groups:
            await _look(blocks, group, known)
            described = [_described(entry, known.get(entry.cid.raw)) for entry in group]
            yield start.encode() + json.dumps(described)[1:-1].encode()
            start = ", "
    end = f'], "cursor": {json.dumps(page.following)}}}\n'
    yield (end if start == ", " else start + end).encode()


# What a child's own block says. Never the block itself: a page of large directories would hold all of theirs.
_Details = Mapping[str, str | int | float | None]
_MISSING: _Details = {"type": None}
_NO_UNIXFS: _Details = {"type": codec_name(DAG_PB)}
# How a page shows it; inside a string the quotes would be escaped.
_GAP = json.dumps(_MISSING)[1:-1].encode()


async def _look(blocks: BlockReader, group: Sequence[Link], known: dict[bytes, _Details]) -> None:
    """Adds to `known`, by the child's CID; StoreUnavailable where that cannot be told now."""

    async def look(cid: Cid) -> _Details:
        try:
            return _detail(cid, await blocks.get(cid))
        except (BlockNotFound, BlockCorrupt):
            return _MISSING

    asked = {entry.cid.raw: entry.cid for entry in group if entry.cid.codec == DAG_PB}
    unknown = [cid for raw, cid in asked.items() if raw not in known]
    async with aclosing(in_order(look, unknown, AHEAD)) as details:
        for cid in unknown:
            known[cid.raw] = await anext(details)


def _detail(cid: Cid, block: bytes) -> _Details:
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
    name = entry.name.encode("utf-8", "replace").decode()
    described: dict[str, object] = {
        "name": name,
        "cid": str(entry.cid),
        "size": entry.tsize,
        "type": "file" if entry.cid.codec == RAW else codec_name(entry.cid.codec),
        "mode": None,
        "mtime": None,
    }
    if name != entry.name:
        # JSON has no word for bytes that are no UTF-8, and other names may look the same then.
        described["encoded_name"] = segment(entry.name)
    return described | dict(details or {})
