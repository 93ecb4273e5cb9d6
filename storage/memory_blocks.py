"""MemoryBlocks: blocks in a dict, the BlockReader that tests use."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence

from ipld.blocks import Block, Buffer, Leaf, Piece
from ipld.cid import Cid
from ipld.errors import BlockNotFound
from ipld.unixfs.reader import stream_by_get


class MemoryBlocks:
    """Trusts what it is given, and finds blocks by multihash, as every store here does."""

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        self._data: dict[bytes, bytes] = {}
        self.put_all(blocks)

    def put(self, block: Block) -> None:
        self._data[block.cid.multihash] = block.data

    def put_all(self, blocks: Iterable[Block]) -> None:
        for block in blocks:
            self.put(block)

    async def get(self, cid: Cid) -> bytes:
        if cid.is_identity:
            return cid.digest
        try:
            return self._data[cid.multihash]
        except KeyError:
            raise BlockNotFound(f"{cid} is not here") from None

    def stream(self, leaves: Sequence[Leaf]) -> AsyncGenerator[Buffer, None]:
        return stream_by_get(self.get, leaves)

    def spans(self, leaves: Sequence[Leaf]) -> AsyncGenerator[Piece, None]:
        return stream_by_get(self.get, leaves)
