"""A UnixFS directory: its index.html, or a page that lists it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from itertools import count

from gateway.formats.content_headers import content_headers
from gateway.formats.directory_page import (
    PAGE_ENTRIES,
    DirectoryPage,
    Listed,
    listing_etag,
    path_links,
    render_directory,
)
from gateway.formats.file import represent_file
from gateway.formats.pages import PAGE_HEADERS
from gateway.redirects import moved
from gateway.representation import Representation
from gateway.request import ContentRequest
from ipld.blocks import BlockReader
from ipld.errors import MalformedBlock, WrongKind
from ipld.paths import Found
from ipld.unixfs.listing import find_entry, list_entries
from ipld.unixfs.node import Link

INDEX = "index.html"


async def represent_directory(blocks: BlockReader, wanted: ContentRequest, found: Found) -> Representation:
    """Path gateway spec, "UnixFS directory": with a trailing slash, so that relative links work."""
    if not wanted.path.trailing_slash and not wanted.go_get:
        query = f"?{wanted.query}" if wanted.query else ""
        return moved(f"{wanted.raw_path}/{query}", headers=content_headers(wanted, found))
    index = (await find_entry(blocks, found.cid, INDEX)).link
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
    entries, more = await _page(blocks, found, wanted.cursor)
    whole = not more and not wanted.cursor
    page = DirectoryPage(
        links=path_links(wanted.path.namespace, wanted.path.root),
        cid=str(found.cid),
        path=wanted.path.segments,
        entries=[_listed(entry) for entry in entries],
        count=len(entries) if whole else None,
        size=sum(entry.tsize for entry in entries) if whole else None,
        next_cursor=str(wanted.cursor + len(entries)) if more else None,
    )
    return Representation(
        content_type="text/html; charset=utf-8",
        etag=listing_etag(str(found.cid), str(wanted.cursor or "")),
        headers=content_headers(wanted, found, listing=True) | dict(PAGE_HEADERS),
        body=render_directory(page).encode("utf-8", "replace"),
    )


async def _page(blocks: BlockReader, found: Found, start: int) -> tuple[list[Link], bool]:
    """The entries of one page, and whether there are more after it."""
    page: list[Link] = []
    async with aclosing(list_entries(blocks, found.cid)) as entries:
        async for position, entry in _numbered(entries):
            if len(page) == PAGE_ENTRIES:
                return page, True
            if position >= start:
                page.append(entry)
    return page, False


async def _numbered(entries: AsyncIterator[Link]) -> AsyncIterator[tuple[int, Link]]:
    numbers = count()
    async for entry in entries:
        yield next(numbers), entry


def _listed(entry: Link) -> Listed:
    # Only the child's own block tells a directory from a file, and a listing fetches none of them.
    return Listed(entry.name, str(entry.cid), entry.tsize, is_directory=False)
