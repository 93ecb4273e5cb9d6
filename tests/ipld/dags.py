"""Small DAGs for tests: files in any profile, and shapes that no writer of ours makes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing

from ipld import dag_pb, varint
from ipld.blocks import Block, Buffer, Leaf, Piece
from ipld.cid import DAG_PB, RAW, Cid
from ipld.unixfs.node import Kind, Link, encode_data, leaf_wrapping
from ipld.unixfs.profiles import UNIXFS_V1_2025, Profile
from ipld.unixfs.reader import open_file, stream_by_get
from ipld.unixfs.writer import FileBuilder
from storage.memory_blocks import MemoryBlocks


def small(chunk_size: int = 4, width: int = 3, raw_leaves: bool = True, **more: int) -> Profile:
    version = more.pop("cid_version", 1)
    return Profile("test", version, raw_leaves, chunk_size, width, **more)


def blocks_of(data: bytes, profile: Profile = UNIXFS_V1_2025) -> tuple[Link, list[Block]]:
    """A file as the writer makes it, with the leaf blocks cut out of the data."""
    builder = FileBuilder(profile)
    leaves = builder.add(data)
    built = builder.finish()
    blocks = list(built.inner)
    for cid, offset, length, wrapped in [*leaves, *built.leaves]:
        before, after = leaf_wrapping(length) if wrapped else (b"", b"")
        blocks.append(Block(cid, before + data[offset : offset + length] + after))
    return Link("", built.root, built.tsize), blocks


def raw_leaf(data: bytes) -> Block:
    return Block(Cid.of(data, RAW), data)


def wrapped_leaf(data: bytes, version: int = 1) -> Block:
    before, after = leaf_wrapping(len(data))
    return dag_pb_block(before + data + after, version)


def dag_pb_block(data: bytes, version: int = 1) -> Block:
    return Block(Cid.of(data, DAG_PB, version), data)


def file_message(sizes: Iterable[int], data: bytes = b"", filesize: int | None = -1, kind: int = 2) -> bytes:
    sizes = list(sizes)
    filesize = sum(sizes) + len(data) if filesize == -1 else filesize
    out = b"\x08" + varint.encode(kind)
    if data:
        out += b"\x12" + varint.encode(len(data)) + data
    if filesize is not None:
        out += b"\x18" + varint.encode(filesize)
    return out + b"".join(b"\x20" + varint.encode(size) for size in sizes)


def directory(*entries: tuple[str, Block]) -> Block:
    """As it stands: unsorted, with names that no writer takes, and some of them twice."""
    links = [dag_pb.PBLink(block.cid, name, len(block.data)) for name, block in entries]
    return dag_pb_block(dag_pb.encode(links, encode_data(Kind.DIRECTORY)))


def inner_node(children: Sequence[tuple[Block, int]], **message: object) -> Block:
    links = [dag_pb.PBLink(block.cid, "", len(block.data)) for block, _ in children]
    return dag_pb_block(dag_pb.encode(links, file_message([size for _, size in children], **message)))  # type: ignore[arg-type]


async def read_all(blocks: MemoryBlocks, cid: Cid, start: int = 0, stop: int | None = None) -> bytes:
    file = await open_file(blocks, cid)
    async with aclosing(file.read(start, stop)) as pieces:
        return b"".join([bytes(piece) async for piece in pieces])


class Watched(MemoryBlocks):
    """Remembers what was asked for one by one, how much of it at once, and how many leaves in each batch."""

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        super().__init__(blocks)
        self.asked: list[Cid] = []
        self.batches: list[int] = []
        self.at_once = self.most = 0

    async def get(self, cid: Cid) -> bytes:
        self.asked.append(cid)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await asyncio.sleep(0)
            return await super().get(cid)
        finally:
            self.at_once -= 1

    def stream(self, leaves: Sequence[Leaf]) -> AsyncGenerator[Buffer, None]:
        self.batches.append(len(leaves))
        return stream_by_get(super().get, leaves)

    def spans(self, leaves: Sequence[Leaf]) -> AsyncGenerator[Piece, None]:
        self.batches.append(len(leaves))
        return stream_by_get(super().get, leaves)
