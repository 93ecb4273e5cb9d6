"""Editing trees: a root with one entry put at a path, or taken away."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from ipld.blocks import Block, BlockReader
from ipld.cid import Cid
from ipld.errors import InvalidPath, NoLink
from ipld.unixfs.directory import MAX_TREE_DEPTH, built_directory
from ipld.unixfs.listing import directory_node, list_entries
from ipld.unixfs.node import NO_METADATA, Link, Metadata
from ipld.unixfs.profiles import Profile


@dataclass(frozen=True, slots=True)
class _Level:
    """A directory on the way; its mode and time stay what they were, as in Kubo's MFS."""

    entries: dict[str, Link] = field(default_factory=dict)
    metadata: Metadata = NO_METADATA


async def put_link(
    blocks: BlockReader, root: Cid, segments: Sequence[str], link: Link, profile: Profile
) -> list[Block]:
    """The new blocks, root last; missing parents are made and what was at the path is replaced.

    The CIDs are those of a fresh build. WrongKind where a parent is a file; the name in `link`
    is not looked at.
    """
    levels = await _levels(blocks, root, segments, make=True)
    levels[-1].entries[segments[-1]] = link
    return _rebuild(levels, segments, profile)


async def remove_link(
    blocks: BlockReader, root: Cid, segments: Sequence[str], profile: Profile
) -> list[Block]:
    """The new blocks, root last; NoLink where the path leads to nothing. Emptied parents stay."""
    levels = await _levels(blocks, root, segments, make=False)
    if levels[-1].entries.pop(segments[-1], None) is None:
        raise NoLink(f'no link named "{segments[-1]}" under {root}')
    return _rebuild(levels, segments, profile)


async def _levels(blocks: BlockReader, root: Cid, segments: Sequence[str], make: bool) -> list[_Level]:
    """Each directory on the way, top first."""
    if not 0 < len(segments) <= MAX_TREE_DEPTH:
        raise InvalidPath(f"a path in a tree has 1 to {MAX_TREE_DEPTH} segments")
    levels = [await _level(blocks, root)]
    for segment in segments[:-1]:
        link = levels[-1].entries.get(segment)
        if link is None and not make:
            raise NoLink(f'no link named "{segment}" under {root}')
        levels.append(_Level() if link is None else await _level(blocks, link.cid))
    return levels


async def _level(blocks: BlockReader, cid: Cid) -> _Level:
    node = await directory_node(blocks, cid)
    async with aclosing(list_entries(blocks, cid)) as links:
        entries = {link.name: link async for link in links}
    return _Level(entries, Metadata(node.mode, node.mtime))


def _rebuild(levels: list[_Level], segments: Sequence[str], profile: Profile) -> list[Block]:
    made: list[Block] = []
    for depth in range(len(levels) - 1, -1, -1):
        level = levels[depth]
        entries = [link._replace(name=name) for name, link in level.entries.items()]
        built = built_directory(entries, profile, level.metadata)
        made.extend(built.blocks)
        if depth:
            levels[depth - 1].entries[segments[depth - 1]] = built.root
    return made
