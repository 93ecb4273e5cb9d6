"""A UnixFS directory: its index.html, or a page that lists it."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlencode

from gateway.formats.content_headers import content_headers
from gateway.formats.directory_page import (
    PAGE_ENTRIES,
    DirectoryPage,
    Listed,
    listing_etag,
    render_directory,
)
from gateway.formats.file import represent_file
from gateway.formats.page_links import links_for
from gateway.formats.pages import PAGE_HEADERS
from gateway.redirects import moved
from gateway.representation import Representation
from gateway.request import ContentRequest
from ipld.blocks import BlockReader
from ipld.errors import MalformedBlock, WrongKind
from ipld.paths import Found
from ipld.unixfs.listing import find_entry
from ipld.unixfs.node import Link
from ipld.unixfs.paging import page_of

INDEX = "index.html"


async def represent_directory(blocks: BlockReader, wanted: ContentRequest, found: Found) -> Representation:
    """Path gateway spec, "UnixFS directory": with a trailing slash, so that relative links work."""
    if not wanted.path.trailing_slash and not wanted.go_get:
        query = f"?{wanted.query}" if wanted.query else ""
        return moved(f"{wanted.raw_path}/{query}", headers=content_headers(wanted, found))
    index = (await find_entry(blocks, found.cid, INDEX)).link if wanted.index else None
    if index is not None:
        return await _represent_index(blocks, wanted, found, index)
    return await _represent_listing(blocks, wanted, found)


async def _represent_index(
    blocks: BlockReader, wanted: ContentRequest, found: Found, index: Link
) -> Representation:
    try:
        inside = replace(found, cid=index.cid)
        return await represent_file(blocks, wanted, inside, index_of=found.cid)
    except WrongKind as error:
        raise MalformedBlock(f"{INDEX} in {found.cid} is a directory") from error


async def _represent_listing(blocks: BlockReader, wanted: ContentRequest, found: Found) -> Representation:
    limit = min(wanted.page_limit(), PAGE_ENTRIES)
    entries, cursor = await page_of(blocks, found.cid, wanted.cursor, limit)
    whole = cursor is None and not wanted.cursor
    page = DirectoryPage(
        links=links_for(wanted),
        cid=str(found.cid),
        path=wanted.path.segments,
        entries=[_listed(entry) for entry in entries],
        count=len(entries) if whole else None,
        size=sum(entry.tsize for entry in entries) if whole else None,
        following=None if cursor is None else _following(wanted, cursor),
    )
    return Representation(
        content_type="text/html; charset=utf-8",
        etag=listing_etag(str(found.cid), "" if whole else f"{wanted.cursor}:{limit}:{wanted.index:d}"),
        headers=content_headers(wanted, found, listing=True) | dict(PAGE_HEADERS),
        body=render_directory(page).encode("utf-8", "replace"),
    )


def _following(wanted: ContentRequest, cursor: str) -> str:
    """The query of the next page of what was asked for."""
    query = {"cursor": cursor}
    if not wanted.index:
        query["index"] = "false"
    if wanted.limit is not None:
        query["limit"] = wanted.limit
    return urlencode(query)


def _listed(entry: Link) -> Listed:
    # Only the child's own block tells a directory from a file, and a listing fetches none of them.
    return Listed(entry.name, str(entry.cid), entry.tsize, is_directory=False)
