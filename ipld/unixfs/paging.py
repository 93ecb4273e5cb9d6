"""Directories a page at a time: any page costs the shards that it stands in, not those before it."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from contextlib import aclosing

from ipld.blocks import BlockReader
from ipld.cid import Cid
from ipld.dag_pb import name_bytes
from ipld.unixfs.listing import list_entries
from ipld.unixfs.node import Link


class InvalidCursor(ValueError):
    """The text is no cursor that an earlier page of this directory gave."""


async def page_of(
    blocks: BlockReader, cid: Cid, cursor: str, limit: int
) -> tuple[Sequence[Link], str | None]:
    """At most `limit` entries after the cursor ("" for the first page), and the next page's cursor.

    The cursor holds the name of the last entry of the page before.
    """
    page: list[Link] = []
    after = _name(cursor) if cursor else None
    async with aclosing(list_entries(blocks, cid, after)) as entries:
        async for entry in entries:
            if len(page) == limit:
                return page, _cursor(page[-1].name)
            page.append(entry)
    return page, None


# Before the name: a cursor is never empty, even where a malformed directory has entries without a name.
_MARK = b"."


def _cursor(name: str) -> str:
    return urlsafe_b64encode(_MARK + name_bytes(name)).decode().rstrip("=")


def _name(cursor: str) -> str:
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        name = raw.removeprefix(_MARK).decode("utf-8", "surrogateescape")
    except (ValueError, UnicodeError) as error:
        raise InvalidCursor("cursor is what an earlier page gave") from error
    if _cursor(name) != cursor:
        raise InvalidCursor("cursor is what an earlier page gave")
    return name
