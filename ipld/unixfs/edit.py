"""Editing trees: a root with one entry put at a path, or taken away."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

from ipld.blocks import Block, BlockReader
from ipld.cid import Cid
from ipld.errors import InvalidPath, NoLink
from ipld.unixfs.directory import MAX_TREE_DEPTH, built_directory
from ipld.unixfs.listing import list_entries
from ipld.unixfs.node import Link
from ipld.unixfs.profiles import Profile

_Entries = dict[str, Link]


async def put_link(
    blocks: BlockReader, root: Cid, segments: Sequence[str], link: Link, profile: Profile
) -> list[Block]:
    """The new blocks, root last; missing parents are made and what was at the path is replaced.

    The CIDs are those of a fresh build. WrongKind where a parent is a file; the name in `link`
    is not looked at.
    """
    levels = await _levels(blocks, root, segments, make=True)
    levels[-1][segments[-1]] = link
    return _rebuild(levels, segments, profile)


async def remove_link(
    blocks: BlockReader, root: Cid, segments: Sequence[str], profile: Profile
) -> list[Block]:
    """The new blocks, root last; NoLink where the path leads to nothing. Emptied parents stay."""
    levels = await _levels(blocks, root, segments, make=False)
    if levels[-1].pop(segments[-1], None) is None:
        raise NoLink(f'no link named "{segments[-1]}" under {root}')
    return _rebuild(levels, segments, profile)


async def _levels(blocks: BlockReader, root: Cid, segments: Sequence[str], make: bool) -> list[_Entries]:
    """The entries of each directory on the way, top first."""
    if not 0 < len(segments) <= MAX_TREE_DEPTH:
        raise InvalidPath(f"a path in a tree has 1 to {MAX_TREE_DEPTH} segments")
    levels = [await _entries(blocks, root)]
    for segment in segments[:-1]:
        link = levels[-1].get(segment)
        if link is None and not make:
            raise NoLink(f'no link named "{segment}" under {root}')
        levels.append({} if link is None else await _entries(blocks, link.cid))
    return levels


async def _entries(blocks: BlockReader, cid: Cid) -> _Entries:
    async with aclosing(list_entries(blocks, cid)) as links:
        return {link.name: link async for link in links}


def _rebuild(levels: list[_Entries], segments: Sequence[str], profile: Profile) -> list[Block]:
    made: list[Block] = []
    for depth in range(len(levels) - 1, -1, -1):
        entries = [link._replace(name=name) for name, link in levels[depth].items()]
        built = built_directory(entries, profile)
        made.extend(built.blocks)
        if depth:
            levels[depth - 1][segments[depth - 1]] = built.root
    return made
