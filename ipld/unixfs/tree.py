"""Everything below a directory, with its path, one after the other: for archives."""

from __future__ import annotations

import asyncio
import posixpath
import re
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import NamedTuple, Self

from ipld.blocks import BlockReader
from ipld.cid import RAW, Cid
from ipld.errors import MalformedBlock
from ipld.unixfs.listing import list_entries
from ipld.unixfs.node import LISTABLE, Kind, Link, Node, decode_node
from ipld.unixfs.reader import UnixFile, file_of

# No file system takes deeper paths or longer targets, and a walk must end. What a symlink's name hides has
# to be remembered, so there is an end to them too.
MAX_DEPTH = 256
MAX_TARGET_BYTES = 4096
MAX_SYMLINKS = 100_000
# Roots of files and directories that are fetched before their turn, in one directory and in all of them.
AHEAD, AHEAD_IN_ALL = 8, 24
# Raw blocks of this size wait for their turn: they are most of what the walk reads anyway.
_LARGE_BYTES = 256 * 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Branch:
    """One file, symlink or directory. `path` begins with the name that the root was given.

    `data` is all of a file that is one block, `target` where a symlink leads.
    """

    path: str
    node: Node
    file: UnixFile | None
    data: memoryview | None = None
    target: str | None = None

    @property
    def is_directory(self) -> bool:
        return self.file is None


class _Entry(NamedTuple):
    link: Link
    block: asyncio.Task[bytes] | None


class _Level:
    """A directory being walked, and the entries whose blocks are on their way."""

    __slots__ = ("ahead", "entries", "path")

    def __init__(self, path: str, entries: AsyncGenerator[Link, None]) -> None:
        self.path = path
        self.entries = entries
        self.ahead: deque[_Entry] = deque()


async def walk(blocks: BlockReader, root: Cid, name: str) -> AsyncGenerator[Branch, None]:
    """The root and all below it, directories before what they hold.

    Raises NotUnixFs for anything else, and MalformedBlock for a name that leads out of the root.
    """
    paths = _Paths(name)
    first = _branch(blocks, root, await blocks.get(root), name)
    yield first
    if not first.is_directory:
        return
    async with _Levels(blocks) as levels:
        levels.descend(name, root)
        async with aclosing(levels.entries()) as entries:
            async for parent, link, block in entries:
                branch = _branch(blocks, link.cid, block, paths.inside(parent, link.name))
                paths.note(branch)
                yield branch
                if branch.is_directory:
                    levels.descend(branch.path, link.cid)


class _Levels:
    """The directories from the root down, each with how far the walk has come in it."""

    def __init__(self, blocks: BlockReader) -> None:
        self._blocks = blocks
        self._levels: list[_Level] = []
        self._under_way = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [entry.block for level in self._levels for entry in level.ahead if entry.block is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for level in self._levels:
            await level.entries.aclose()

    def descend(self, path: str, cid: Cid) -> None:
        """What lies in this directory comes before all that is left."""
        if len(self._levels) == MAX_DEPTH:
            raise MalformedBlock(f"directories are nested more than {MAX_DEPTH} deep")
        self._levels.append(_Level(path, list_entries(self._blocks, cid)))

    async def entries(self) -> AsyncGenerator[tuple[str, Link, bytes], None]:
        """The path of the directory, the entry and its block; `descend` may be called in between."""
        while self._levels:
            level = self._levels[-1]
            await self._look_ahead(level)
            if not level.ahead:
                self._levels.pop()
                continue
            entry = level.ahead[0]
            block = await (entry.block or self._blocks.get(entry.link.cid))
            level.ahead.popleft()
            self._under_way -= entry.block is not None
            yield level.path, entry.link, block

    async def _look_ahead(self, level: _Level) -> None:
        """At least one entry, if any is left; its block only if it does not come at once."""
        while len(level.ahead) < AHEAD:
            link = await anext(level.entries, None)
            if link is None:
                return
            is_large = link.cid.codec == RAW and link.tsize >= _LARGE_BYTES
            fetch = not is_large and self._under_way < AHEAD_IN_ALL
            self._under_way += fetch
            level.ahead.append(_Entry(link, asyncio.ensure_future(self._get(link.cid)) if fetch else None))

    async def _get(self, cid: Cid) -> bytes:
        return await self._blocks.get(cid)


def _branch(blocks: BlockReader, cid: Cid, block: bytes, path: str) -> Branch:
    node = decode_node(cid, block)
    if node.kind in LISTABLE:
        return Branch(path, node, None)
    file = file_of(blocks, node)
    target = _target(node) if node.kind == Kind.SYMLINK else None
    return Branch(path, node, file, None if node.links else node.data, target)


def _target(node: Node) -> str:
    if node.links or not 0 < len(node.data) <= MAX_TARGET_BYTES or 0 in node.data:
        raise MalformedBlock(f"the target of the symlink {node.cid} is no path")
    return bytes(node.data).decode("utf-8", "surrogateescape")


class _Paths:
    """Paths that stay below the root for whoever unpacks them one after the other."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._symlinks: set[str] = set()

    def inside(self, parent: str, name: str) -> str:
        """The path of an entry; one with dots is taken for what it means, if that is below the root.

        Control characters are escaped: what shows an archive's names is often a terminal.
        """
        path = posixpath.normpath(f"{parent}/{name}")
        if not path.startswith(f"{self._root}/") or "\0" in path or not name:
            raise MalformedBlock(f"the name {name!r} leads out of the directory")
        path = _CONTROL.sub(lambda found: f"%{ord(found[0]):02X}", path)
        # Of two entries with one name the first may be a symlink that the second is written through.
        if self._symlinks and not self._symlinks.isdisjoint(self._places(path, name)):
            raise MalformedBlock(f"the name {name!r} leads through a symlink")
        return path

    def note(self, branch: Branch) -> None:
        """The branch is in the archive."""
        if branch.target is not None:
            self._symlinks.add(branch.path)
            if len(self._symlinks) > MAX_SYMLINKS:
                raise MalformedBlock(f"the directory holds more than {MAX_SYMLINKS} symlinks")

    def _places(self, path: str, name: str) -> list[str]:
        """The path, and where its name has slashes also all that lies above it."""
        places = [path]
        while "/" in name and (path := posixpath.dirname(path)) != self._root:
            places.append(path)
        return places
