"""Everything below a directory, with its path, one after the other: for archives."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from ipld.blocks import BlockReader
from ipld.cid import Cid
from ipld.errors import MalformedBlock
from ipld.lookahead import in_order
from ipld.unixfs.listing import list_entries
from ipld.unixfs.node import LISTABLE, Kind, Link, Node, decode_node
from ipld.unixfs.reader import UnixFile, file_of

# No file system takes deeper paths, and a walk must end.
MAX_DEPTH = 256
# Entries of one directory that are looked at together, and blocks asked for at once.
BATCH, AHEAD = 64, 8


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
    first = _branch(blocks, decode_node(root, await blocks.get(root)), name)
    yield first
    levels = [(name, _nodes(blocks, root))] if first.is_directory else []
    try:
        while levels:
            parent, children = levels[-1]
            child = await anext(children, None)
            if child is None:
                levels.pop()
                continue
            entry, node = child
            branch = _branch(blocks, node, _inside(name, parent, entry))
            yield branch
            if branch.is_directory:
                if len(levels) == MAX_DEPTH:
                    raise MalformedBlock(f"directories are nested more than {MAX_DEPTH} deep under {root}")
                levels.append((branch.path, _nodes(blocks, entry.cid)))
    finally:
        for _, children in levels:
            await children.aclose()


def _branch(blocks: BlockReader, node: Node, path: str) -> Branch:
    return Branch(path, node, None if node.kind in LISTABLE else file_of(blocks, node))


async def _nodes(blocks: BlockReader, cid: Cid) -> AsyncGenerator[tuple[Link, Node], None]:
    """The entries of a directory with their root nodes, some of which are fetched ahead."""
    batch: list[Link] = []
    async with aclosing(list_entries(blocks, cid)) as entries:
        while True:
            entry = await anext(entries, None)
            if entry is not None:
                batch.append(entry)
            if entry is None or len(batch) == BATCH:
                async with aclosing(in_order(blocks.get, [link.cid for link in batch], AHEAD)) as found:
                    for link in batch:
                        yield link, decode_node(link.cid, await anext(found))
                batch = []
            if entry is None:
                return


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
