"""Rebuilding the index from the objects alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter

from ipld.blocks import Buffer
from ipld.cid import Cid
from ipld.errors import InvalidCar, InvalidCid
from ipld.unixfs.profiles import PROFILES, Profile
from storage.block_table import MOST_NUMBERS
from storage.car_blocks import CarBlocks
from storage.car_import import object_root, roots_of
from storage.closures import closure_of, parts
from storage.drafts import FileRows, batches
from storage.index import OPERATOR, Index, Layout, NewObject, NewUpload, UploadGone
from storage.objects import ObjectNotFound, ObjectStore
from storage.twins import check_twin

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


class NotOurs(ValueError):
    """The object is not one that this program wrote, or it is damaged."""


@dataclass(frozen=True, slots=True)
class _Read:
    """An object read anew; `outside` are the blocks that it links to and does not hold."""

    new: NewObject
    roots: Sequence[Cid]
    outside: frozenset[bytes] = field(default=frozenset())


@dataclass(slots=True)
class _Waiting:
    """Objects that link to blocks which are not indexed yet: what each lacks, and who has what."""

    lacks: dict[str, frozenset[bytes]] = field(default_factory=dict)
    homes: dict[bytes, str] = field(default_factory=dict)

    def put(self, read: _Read, missing: frozenset[bytes]) -> None:
        self.lacks[read.new.key] = missing
        self.homes.update((row.multihash, read.new.key) for row in read.new.rows)

    def in_order(self) -> list[str]:
        """The keys, each after those that have what it lacks."""
        rests_on = {
            key: {self.homes[block] for block in lacks if block in self.homes}
            for key, lacks in self.lacks.items()
        }
        try:
            return list(TopologicalSorter(rests_on).static_order())
        except CycleError:
            return list(rests_on)


class Reindex:
    """Adds every object that the index does not know; the operator becomes its owner.

    What is indexed already is left alone, so that it can be interrupted and begun again.
    """

    def __init__(self, objects: ObjectStore, index: Index) -> None:
        self._objects = objects
        self._index = index

    async def __call__(self, progress: Progress = lambda done, total: None) -> int:
        """How many objects were added. Objects of uploads that are under way are not touched."""
        keys = await self._unknown()
        waiting = _Waiting()
        added = 0
        for done, key in enumerate(keys):
            read = await self._read(key)
            if read is not None:
                missing = await self._missing(read.outside)
                if missing:
                    waiting.put(read, missing)
                else:
                    added += await self._add(read)
            progress(done + 1, len(keys))
        for key in waiting.in_order():
            # Read anew: the rows of all that wait might not fit into memory.
            read = await self._read(key)
            added += read is not None and await self._add(read)
        return added

    async def _unknown(self) -> list[str]:
        keys = [info.key async for info in self._objects.list()]
        known: set[str] = set()
        for part in parts(keys):
            known |= await self._index.known(part)
        # After the others: what is deleted meanwhile goes from the index to the unsettled.
        known.update(await self._index.unsettled(0))
        return [key for key in keys if key not in known]

    async def _read(self, key: str) -> _Read | None:
        try:
            async with self._objects.open(key) as source:
                pieces = source.read(0, source.size)
                async with aclosing(pieces):
                    return await _read_object(key, source.size, pieces)
        except (NotOurs, ObjectNotFound) as error:
            logger.warning("%s is left out: %s", key, error)
            return None

    async def _missing(self, outside: frozenset[bytes]) -> frozenset[bytes]:
        missing = set(outside)
        for part in parts(outside):
            missing.difference_update(await self._index.locate(part))
        return frozenset(missing)

    async def _add(self, read: _Read) -> bool:
        kept = await closure_of(self._index, read.outside)
        if not kept.complete:
            logger.warning("%s links to blocks that are nowhere", read.new.key)
        partial = read.new.partial or not kept.complete
        new = replace(read.new, needs=kept.objects, partial=partial)
        await check_twin(self._objects, self._index, new.root)
        try:
            uploads = [NewUpload(OPERATOR, root, "", new.size) for root in read.roots]
            committed = await self._index.adopt(new, *uploads)
        except UploadGone as error:
            logger.warning("%s is left out: %s", new.key, error)
            return False
        for key in committed.surplus:
            # The same root is there already: this copy serves nobody.
            await self._objects.delete(key)
            await self._index.settle(key)
        return new.key not in committed.surplus


async def _read_object(key: str, size: int, pieces: AsyncGenerator[Buffer, None]) -> _Read:
    kind, _, rest = key.partition("/")
    if kind in ("cars", "imports"):
        return await _read_car(key, size, pieces)
    if kind == "files":
        new = await _read_file(key, rest.partition("/")[0], size, pieces)
        return _Read(new, [new.root])
    raise NotOurs("no object of this program has such a key")


async def _read_file(key: str, named: str, size: int, pieces: AsyncGenerator[Buffer, None]) -> NewObject:
    """`named` is the profile, or the CID that the file must have in one of them."""
    wanted = None if named in PROFILES else _cid(named)
    profiles: list[Profile] = list(PROFILES.values()) if wanted is not None else [PROFILES[named]]
    rows = FileRows(profiles)
    async for batch in batches(pieces):
        await asyncio.to_thread(rows.add, batch)
    for profile, built, found in await asyncio.to_thread(rows.finish):
        if wanted is None or built.root.to_v1() == wanted:
            return NewObject(key, Layout.FILE, wanted or built.root, size, found, profile.name)
    raise NotOurs(f"its bytes are not those of {named}")


def _cid(named: str) -> Cid:
    try:
        return Cid.parse(named)
    except InvalidCid as error:
        raise NotOurs(f"{named} is neither a profile nor a CID") from error


async def _read_car(key: str, size: int, pieces: AsyncGenerator[Buffer, None]) -> _Read:
    # The upload kept to a limit, which may have been another one then.
    blocks = CarBlocks(max_blocks=MOST_NUMBERS)
    try:
        async for batch in batches(pieces):
            await asyncio.to_thread(blocks.add, batch)
        blocks.reader.close()
    except InvalidCar as error:
        raise NotOurs(str(error)) from error
    roots = roots_of(blocks)
    if not roots:
        raise NotOurs("it has neither roots nor blocks")
    gaps = await asyncio.to_thread(blocks.gaps, roots)
    is_partial = next(gaps.opaque(), None) is not None or blocks.first_lost(roots) is not None
    rows = blocks.rows(len(blocks.reader.header))
    new = NewObject(key, Layout.CAR, object_root(roots), size, rows, partial=is_partial, distinct=True)
    return _Read(new, roots, frozenset(cid.multihash for cid in gaps.absent()))
