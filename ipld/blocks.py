"""Blocks, and the two questions that every place that holds blocks answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ipld.cid import Cid
from ipld.hashes import verify

__all__ = ["MAX_BLOCK_BYTES", "Block", "BlockReader", "Buffer", "Leaf", "verify"]

# What streams carry: anything that a socket or a hash takes without a copy.
Buffer = bytes | bytearray | memoryview

# No block larger than this is taken or made (the limit that Kubo and Bitswap keep).
MAX_BLOCK_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Block:
    """A block whose bytes were checked against, or computed, its CID."""

    cid: Cid
    data: bytes


@dataclass(frozen=True, slots=True)
class Leaf:
    """The bytes `start` up to `stop` of the file data that a leaf block carries.

    Positions count file data, not block bytes: for a raw leaf the two are equal, for a dag-pb
    leaf the data lies inside the UnixFS message. `size` is all the data of the leaf, as the
    parent's `blocksizes` promise it.
    """

    cid: Cid
    size: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class FileSpan:
    """Bytes that were checked and lie in a file: the kernel can send them without a copy.

    The descriptor, and `read` for whoever wants the bytes, are good until the next piece is asked for.
    """

    descriptor: int
    start: int
    stop: int
    read: Callable[[int, int], AsyncGenerator[Buffer, None]]

    def __len__(self) -> int:
        return self.stop - self.start


# What a stream of file data consists of, where the consumer knows what to do with spans.
Piece = Buffer | FileSpan


class BlockReader(Protocol):
    """A place that holds blocks. Whatever it gives was checked against the CID.

    Every method raises BlockNotFound, BlockCorrupt or StoreUnavailable.
    """

    async def get(self, cid: Cid) -> bytes:
        """The bytes of one block. Identity CIDs are answered from the CID itself."""
        ...

    def stream(self, leaves: Sequence[Leaf]) -> AsyncGenerator[Buffer, None]:
        """The data of the leaves, in order, cut into pieces of any size.

        Raises MalformedBlock where a leaf does not carry `size` bytes of data.
        """
        ...

    def spans(self, leaves: Sequence[Leaf]) -> AsyncGenerator[Piece, None]:
        """As `stream`, with spans of files instead of their bytes where there are any."""
        ...


@dataclass(frozen=True, slots=True)
class WholeDag:
    """A DAG that lies in one place just as a CAR carries it.

    `read` gives its sections, `size` bytes, each checked. Where the place fails or turns out to be
    damaged it ends early, between two sections or within one, and whoever reads goes on without it.
    """

    size: int
    read: Callable[[], AsyncGenerator[Piece, None]]


@runtime_checkable
class SectionReader(BlockReader, Protocol):
    """A BlockReader that knows how blocks lie beside each other: many go out at once, as a CAR has them."""

    async def leaves(self, cids: Sequence[Cid]) -> Sequence[bool]:
        """Which of the blocks are here and link to nothing, as far as that shows without reading them."""
        ...

    def sections(self, cids: Sequence[Cid]) -> AsyncGenerator[Piece, None]:
        """The blocks in order, each with its frame before it (`car.frame`). For those that `leaves` names."""
        ...

    async def whole_dag(self, root: Cid, *, duplicates: bool) -> WholeDag | None:
        """All blocks under the root depth first, each once or, with `duplicates`, as often as it is
        linked to; None where they do not lie side by side like that."""
        ...
