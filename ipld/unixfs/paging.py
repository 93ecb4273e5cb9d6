"""Directories a page at a time: any page costs the shards that it stands in, not those before it."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from ipld.blocks import BlockReader
from ipld.cid import Cid
from ipld.dag_pb import name_bytes
from ipld.unixfs.listing import list_entries
from ipld.unixfs.node import Link


class InvalidCursor(ValueError):
    """The text is no cursor that an earlier page of this directory gave."""


class Page:
    """At most `limit` (1 or more) entries after the cursor, "" for the first page.

    The cursor holds the name of the last entry of the page before; InvalidCursor where it does not.
    """

    def __init__(self, cursor: str, limit: int) -> None:
        self._after = _name(cursor) if cursor else None
        self._limit = limit
        self.following: str | None = None

    async def groups(self, blocks: BlockReader, cid: Cid, count: int) -> AsyncGenerator[list[Link], None]:
        """The entries, `count` at a time as they come; after the last ones `following` is the next page's
        cursor, None where there is no next page. Raises as `list_entries`."""
        group: list[Link] = []
        left = self._limit
        async with aclosing(list_entries(blocks, cid, self._after)) as entries:
            async for entry in entries:
                if not left:
                    self.following = _cursor(group[-1].name)
                    break
                if len(group) == count:
                    yield group
                    group = []
                left -= 1
                group.append(entry)
        if group:
            yield group


async def page_of(
    blocks: BlockReader, cid: Cid, cursor: str, limit: int
) -> tuple[Sequence[Link], str | None]:
    """The entries of a page, and the next page's cursor."""
    page = Page(cursor, limit)
    async with aclosing(page.groups(blocks, cid, limit)) as groups:
        # No tuple: Python 3.11 loses one as a default here.
        return await anext(groups, list[Link]()), page.following


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
