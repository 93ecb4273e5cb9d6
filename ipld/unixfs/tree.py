"""Everything below a directory, with its path, one after the other: for archives."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from ipld.blocks import BlockReader
from ipld.cid import Cid
from ipld.errors import MalformedBlock
from ipld.unixfs.listing import list_entries
from ipld.unixfs.node import LISTABLE, Kind, Link, Node, decode_node
from ipld.unixfs.reader import UnixFile, open_file

# No file system takes deeper paths, and a walk must end.
MAX_DEPTH = 256


@dataclass(frozen=True, slots=True)
class Branch:
    """One file, symlink or directory. `path` begins with the name that the root was given."""

    path: str
    node: Node
    file: UnixFile | None

    @property
    def is_directory(self) -> bool:
        return self.file is None

    @property
    def is_symlink(self) -> bool:
        return self.node.kind == Kind.SYMLINK


async def walk(blocks: BlockReader, root: Cid, name: str) -> AsyncGenerator[Branch, None]:
    """The root and all below it, directories before what they hold.

    Raises NotUnixFs for anything else, and MalformedBlock for a name that leads out of the root.
    """
    first = await _branch(blocks, root, name)
    yield first
    levels = [(name, list_entries(blocks, root))] if first.is_directory else []
    try:
        while levels:
            parent, entries = levels[-1]
            entry = await anext(entries, None)
            if entry is None:
                levels.pop()
                continue
            branch = await _branch(blocks, entry.cid, _inside(name, parent, entry))
            yield branch
            if branch.is_directory:
                if len(levels) == MAX_DEPTH:
                    raise MalformedBlock(f"directories are nested more than {MAX_DEPTH} deep under {root}")
                levels.append((branch.path, list_entries(blocks, entry.cid)))
    finally:
        for _, entries in levels:
            await entries.aclose()


async def _branch(blocks: BlockReader, cid: Cid, path: str) -> Branch:
    node = decode_node(cid, await blocks.get(cid))
    return Branch(path, node, None if node.kind in LISTABLE else await open_file(blocks, cid))


def _inside(root: str, parent: str, entry: Link) -> str:
    """The path of an entry; one with dots is taken for what it means, if that is below the root."""
    path = posixpath.normpath(f"{parent}/{entry.name}")
    if not path.startswith(f"{root}/") or "\0" in path or not entry.name:
        raise MalformedBlock(f"the name {entry.name!r} leads out of the directory")
    return path


async def content_of(file: UnixFile) -> bytes:
    """All of a small file: the target of a symlink."""
    async with aclosing(file.read()) as pieces:
        return b"".join([piece async for piece in pieces])
