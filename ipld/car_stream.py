"""The bytes of a CAR: blocks with their frames, collected into pieces, or spans of what holds them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from ipld import car
from ipld.blocks import Block, BlockReader, FileSpan, Piece, SectionReader, WholeDag
from ipld.car_traversal import Chosen, Walk, whole_dag
from ipld.cid import Cid

# Blocks are collected up to this size before they are sent: many are small.
PIECE_BYTES = 256 * 1024


async def dag_car(reader: BlockReader, root: Cid) -> AsyncGenerator[Piece, None]:
    """The DAG as a CARv1 of that root: depth first, each block once. Raises BlockNotFound."""
    whole = await whole_dag_of(reader, root, duplicates=False)
    dag = dag_sections(reader, root, Chosen(), whole)
    async with aclosing(sections(dag, car.header([root]))) as pieces:
        async for piece in pieces:
            yield piece


async def whole_dag_of(reader: BlockReader, root: Cid, *, duplicates: bool) -> WholeDag | None:
    """The DAG where it lies in one place, as `SectionReader.whole_dag`."""
    if not isinstance(reader, SectionReader):
        return None
    return await reader.whole_dag(root, duplicates=duplicates)


async def dag_sections(
    reader: BlockReader, root: Cid, chosen: Chosen, whole: WholeDag | None
) -> AsyncGenerator[Piece, None]:
    """Every block under the root, from the place where all of it lies as far as that is sound.

    The rest comes block by block, which gives the same bytes.
    """
    done = 0
    if whole is not None:
        async with aclosing(whole.read()) as pieces:
            async for piece in pieces:
                yield piece
                done += len(piece)
        if done == whole.size:
            return
    async with aclosing(sections(whole_dag(reader, root, chosen))) as pieces:
        async for piece in pieces:
            rest = _without(done, piece)
            done -= len(piece) - len(rest)
            if rest:
                yield rest


async def sections(walk: Walk, header: bytes = b"") -> AsyncGenerator[Piece, None]:
    """The header, and the blocks of the walk, each with its frame; what is small is collected."""
    buffer = bytearray(header)
    async with aclosing(walk):
        async for found in walk:
            block: Piece
            if isinstance(found, Block):
                buffer += car.frame(found.cid, len(found.data))
                block = found.data
            else:
                block = found
            if isinstance(block, FileSpan) or len(block) >= PIECE_BYTES:
                if buffer:
                    yield buffer
                    buffer = bytearray()
                yield block
                continue
            buffer += block
            if len(buffer) >= PIECE_BYTES:
                yield buffer
                buffer = bytearray()
    if buffer:
        yield buffer


def _without(count: int, piece: Piece) -> Piece:
    """The piece without its first `count` bytes, as far as it has so many."""
    if not count:
        return piece
    if isinstance(piece, FileSpan):
        return replace(piece, start=min(piece.start + count, piece.stop))
    return memoryview(piece)[count:]
