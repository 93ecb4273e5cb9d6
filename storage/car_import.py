"""Taking in a CAR from outside: stored as it comes, once every block has been checked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import sha256

from ipld import car
from ipld.blocks import Buffer
from ipld.cid import Cid
from ipld.errors import InvalidCar
from ipld.hashes import IDENTITY
from storage.car_blocks import CarBlocks, Gaps
from storage.closures import closure_of, parts
from storage.drafts import Draft, batches, in_turns
from storage.index import Closure, Index, NewObject
from storage.refused import CidMismatch, IncompleteCar

# At about 70 bytes each; a CAR of 64 GiB in the usual chunks has 65,000 to 262,000 blocks.
MAX_BLOCKS = 2_000_000
# Each becomes an upload of its own.
MAX_ROOTS = 1000
# Of the range for private use; see `object_root`.
_ROOTS_CODEC = 0x30_0001

# Begins the object, whose head has that many bytes.
Begin = Callable[[int], Awaitable[Draft]]


@dataclass(frozen=True, slots=True)
class CarTerms:
    """What the client says of its CAR.

    `root` must be one of the roots in the header, or is the root where the header has none.
    `partial`: parts of the DAG may be missing.
    """

    root: Cid | None = None
    partial: bool = False
    max_blocks: int = MAX_BLOCKS


@dataclass(frozen=True, slots=True)
class TakenCar:
    """A finished object, and the roots that its owner keeps; the one that was asked for first."""

    new: NewObject
    roots: Sequence[Cid]


def object_root(roots: Sequence[Cid]) -> Cid:
    """What an object with these roots is found by.

    Several roots get a made-up CID that stands for all of them: an object that has one of them only
    is no twin of it. Nobody can upload anything else under that, since identity CIDs are not stored.
    """
    if len(roots) == 1 and not roots[0].is_identity:
        return roots[0]
    listed = b"".join(sorted(root.raw for root in roots))
    return Cid.of_digest(sha256(listed).digest(), _ROOTS_CODEC, code=IDENTITY)


def roots_of(blocks: CarBlocks) -> list[Cid]:
    """Those in the header, each once; the last block where there are none."""
    named = blocks.reader.roots or ((blocks.last,) if blocks.last is not None else ())
    return list(dict.fromkeys(named))


class CarImport:
    """A CAR object in the making. A CARv2 is stored as the version 1 inside it.

    Where the header has no roots and the client names one, the header is written anew with that
    one, so that the object says by itself what it is: the index is rebuilt from objects alone.
    """

    def __init__(self, terms: CarTerms, begin: Begin) -> None:
        self._terms = terms
        self._begin = begin
        self._blocks = CarBlocks(terms.max_blocks)
        self._draft: Draft | None = None
        self._head = b""
        self._position = 0
        self._size = 0

    async def take(self, source: AsyncIterable[Buffer], index: Index) -> TakenCar:
        """Raises InvalidCar, IncompleteCar and CidMismatch."""
        async with aclosing(batches(source)) as whole:
            await in_turns(whole, self._take)
        self._blocks.reader.close()
        assert self._draft is not None
        roots = self._roots()
        gaps = await asyncio.to_thread(self._blocks.gaps, roots)
        kept, is_whole = await self._check(roots, gaps, index)
        layout = await asyncio.to_thread(self._blocks.layout, roots, self._head)
        # Of several roots nobody can say which one a store publishes.
        only = roots[0] if len(roots) == 1 else None
        receipt = await self._draft.writer.commit(self._head, only)
        rows = self._blocks.rows(len(self._head))
        new = NewObject(
            self._draft.key,
            layout,
            object_root(roots),
            len(self._head) + self._size,
            rows,
            needs=kept.objects,
            partial=not is_whole,
            distinct=True,
            receipt=receipt,
        )
        return TakenCar(new, roots)

    async def _take(self, batch: Buffer) -> None:
        if self._draft is None:
            await asyncio.to_thread(self._blocks.add, batch)
            if self._blocks.reader.roots is not None:
                self._draft = await self._open()
                await self._write(batch)
        else:
            # Both come to their end before anybody hears of an error: they share the batch.
            hashed = asyncio.to_thread(self._blocks.add, batch)
            for outcome in await asyncio.gather(hashed, self._write(batch), return_exceptions=True):
                if outcome is not None:
                    raise outcome
        self._position += len(batch)

    async def _open(self) -> Draft:
        reader, root = self._blocks.reader, self._terms.root
        self._head = reader.header
        roots = reader.roots or ()
        if len(roots) > MAX_ROOTS:
            raise InvalidCar(f"more than {MAX_ROOTS} roots", 0)
        if root is not None and not roots:
            self._head = car.header([root])
        elif root is not None and root.to_v1() not in {each.to_v1() for each in roots}:
            raise CidMismatch(f"the CAR has the root {roots[0]}, not {root}")
        return await self._begin(len(self._head))

    async def _write(self, batch: Buffer) -> None:
        """Store what of the batch belongs to sections."""
        reader = self._blocks.reader
        stop = len(batch) if reader.body_stop is None else reader.body_stop - self._position
        part = memoryview(batch)[max(0, reader.body_start - self._position) : max(0, stop)]
        if part:
            assert self._draft is not None
            await self._draft.writer.write(part)
            self._size += len(part)

    def _roots(self) -> list[Cid]:
        root = self._terms.root
        if root is None:
            roots = roots_of(self._blocks)
            if not roots:
                raise InvalidCar("neither roots nor blocks until the end", self._position)
            return roots
        others = [each for each in self._blocks.reader.roots or () if each.to_v1() != root.to_v1()]
        return list(dict.fromkeys([root, *others]))

    async def _check(self, roots: Sequence[Cid], gaps: Gaps, index: Index) -> tuple[Closure, bool]:
        """What the object needs of others, and whether nothing is missing then."""
        unread = next(gaps.opaque(), None)
        lost = self._blocks.first_lost(roots)
        if not self._terms.partial:
            if lost is not None:
                raise IncompleteCar(
                    f"the root {lost} is not among the blocks; `partial` takes the CAR as it is"
                )
            if unread is not None:
                raise IncompleteCar(
                    f"the links of {unread}, of codec 0x{unread.codec:x}, cannot be read, so nobody can tell"
                    " whether the DAG is whole; `partial` takes the CAR as it is"
                )
            absent = await first_missing(index, gaps.absent())
            if absent is not None:
                raise IncompleteCar(
                    f"{absent} is linked to, and neither in the CAR nor kept here as a whole;"
                    " `partial` takes the CAR as it is"
                )
        kept = await closure_of(index, (cid.multihash for cid in gaps.absent()))
        return kept, kept.complete and unread is None and lost is None


async def first_missing(index: Index, cids: Iterable[Cid]) -> Cid | None:
    """The first of the CIDs whose DAG is not here as a whole."""
    for part in parts(cids):
        while part:
            if (await index.closure([cid.multihash for cid in part])).complete:
                break
            if len(part) == 1:
                return part[0]
            # It is in this half, or else in the other one.
            half = part[: len(part) // 2]
            is_there = (await index.closure([cid.multihash for cid in half])).complete
            part = part[len(half) :] if is_there else half  # noqa: PLW2901
    return None
