"""Rebuilding the index from the objects alone, and taking in what others put into a bucket."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Protocol

from ipld.cid import Cid
from ipld.unixfs.profiles import Profile
from storage.closures import closure_of, parts
from storage.deletion import Deletion
from storage.direct_uploads import LONGEST_ADDRESS
from storage.index import OPERATOR, Index, NewUpload, UploadGone
from storage.objects import INCOMING, INCOMING_KEY, OUR_KEY, ObjectInfo, ObjectNotFound, ObjectStore
from storage.reindex_notes import MemoryNotes, ReindexNotes
from storage.reindex_objects import CAR_SUFFIX, NotACar, NotOurs, ReadObject, read_ours, read_theirs
from storage.s3_errors import StoreRefused
from storage.twins import check_twin

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]

# How many keys are asked about, and noted as dealt with, at once.
_BATCH = 1000


class Described(Protocol):
    """A store that keeps metadata with its objects."""

    async def metadata(self, key: str) -> Mapping[str, str]:
        """Under lower-case names. Raises ObjectNotFound."""
        ...


@dataclass(frozen=True, slots=True)
class Adoption:
    """Objects of others are indexed, too: files in this profile where nothing says which."""

    store: Described
    profile: Profile


@dataclass(slots=True)
class _Waiting:
    """Objects that link to blocks which are not indexed yet: what each lacks, and who has what."""

    lacks: dict[str, frozenset[bytes]] = field(default_factory=dict)
    homes: dict[bytes, str] = field(default_factory=dict)
    infos: dict[str, ObjectInfo] = field(default_factory=dict)

    def put(self, info: ObjectInfo, read: ReadObject, missing: frozenset[bytes]) -> None:
        self.infos[info.key] = info
        self.lacks[info.key] = missing
        self.homes.update((row.multihash, info.key) for row in read.new.rows)

    def in_order(self) -> list[ObjectInfo]:
        """Each after those that have what it lacks."""
        rests_on = {
            key: {self.homes[block] for block in lacks if block in self.homes}
            for key, lacks in self.lacks.items()
        }
        try:
            keys = list(TopologicalSorter(rests_on).static_order())
        except CycleError:
            keys = list(rests_on)
        return [self.infos[key] for key in keys if key in self.infos]


class Reindex:
    """Adds every object that the index does not know; the operator becomes its owner.

    What is indexed already is left alone, and how far it came is noted, so that it can be interrupted
    and begun again. With `adoption` objects of others are taken in; they are never deleted, and taken in
    anew when they have changed.
    """

    def __init__(
        self,
        objects: ObjectStore,
        index: Index,
        notes: ReindexNotes | None = None,
        adoption: Adoption | None = None,
    ) -> None:
        self._objects = objects
        self._index = index
        self._deletion = Deletion(objects, index)
        self._notes = notes or MemoryNotes()
        self._adoption = adoption

    async def __call__(
        self, progress: Progress = lambda done, total: None, *, from_start: bool = False
    ) -> int:
        """How many objects were added. Objects of uploads that are under way are not touched."""
        if from_start:
            await self._notes.forget()
        begin = await self._notes.cursor()
        total = 0
        async with aclosing(self._unknown(begin)) as counting:
            async for _, unknown in counting:
                total += len(unknown)
        waiting = _Waiting()
        added = done = 0
        async with aclosing(self._unknown(begin)) as batches:
            async for last, unknown in batches:
                for info in unknown:
                    added += await self._take(info, waiting)
                    done += 1
                    progress(done, max(done, total))
                if not waiting.infos:
                    # What waits must be met again by the next run, if this one is cut short.
                    await self._notes.reached(last)
        for info in waiting.in_order():
            # Read anew: the rows of all that wait might not fit into memory.
            read = await self._read(info)
            added += read is not None and await self._add(info, read)
        await self._notes.reached("")
        return added

    async def _unknown(self, after: str) -> AsyncGenerator[tuple[str, list[ObjectInfo]], None]:
        """The last key of each batch, and what of the batch is to be looked at."""
        batch: list[ObjectInfo] = []
        async for info in self._objects.list("", after):
            batch.append(info)
            if len(batch) == _BATCH:
                yield batch[-1].key, await self._new(batch)
                batch = []
        if batch:
            yield batch[-1].key, await self._new(batch)

    async def _new(self, batch: Sequence[ObjectInfo]) -> list[ObjectInfo]:
        known = set(await self._index.known([info.key for info in batch]))
        if self._adoption is not None:
            # What others put there may be something else by now: the notes say what it was.
            known = {key for key in known if OUR_KEY.fullmatch(key)}
        known |= await self._notes.skipped(batch)
        # After the others: what is deleted meanwhile goes from the index to the unsettled. And with what may
        # still come in for as long as addresses last.
        known.update(await self._index.unsettled(-LONGEST_ADDRESS))
        return [info for info in batch if info.key not in known and _is_content(info.key)]

    async def _take(self, info: ObjectInfo, waiting: _Waiting) -> bool:
        if info.key.startswith(INCOMING):
            # Only a lost index knows nothing of it. It is not whole, or nobody will complete it: the sweep
            # removes it once no address can write there any more.
            await self._index.begin(info.key, LONGEST_ADDRESS)
            return False
        read = await self._read(info)
        if read is None:
            return False
        missing = await self._missing(read.outside)
        if missing:
            waiting.put(info, read, missing)
            return False
        return await self._add(info, read)

    async def _read(self, info: ObjectInfo) -> ReadObject | None:
        try:
            if self._adoption is None or OUR_KEY.fullmatch(info.key):
                return await self._read_with(info, None)
            return await self._read_theirs(info, await self._adoption.store.metadata(info.key))
        except NotOurs as error:
            logger.warning("%s is left out: %s", info.key, error)
            if self._adoption is not None:
                await self._index.overwritten(info.key, None, OPERATOR, _name(info.key))
            await self._notes.skip(info, str(error))
        except ObjectNotFound as error:
            logger.warning("%s is left out: %s", info.key, error)
        except StoreRefused as error:
            # Archived, or for the eyes of others; another day it may be readable.
            if not _is_theirs(info.key):
                raise
            logger.warning("%s is left out for now: %s", info.key, error)
        return None

    async def _read_theirs(self, info: ObjectInfo, metadata: Mapping[str, str]) -> ReadObject:
        try:
            return await self._read_with(info, metadata)
        except NotACar:
            if metadata.get("import") == "car" or not info.key.lower().endswith(CAR_SUFFIX):
                raise
            # Somebody's file whose name ends like that of a CAR.
            return await self._read_with(info, {**metadata, "import": "file"})

    async def _read_with(self, info: ObjectInfo, metadata: Mapping[str, str] | None) -> ReadObject:
        async with self._objects.open(info.key) as source, aclosing(source.read(0, source.size)) as pieces:
            if metadata is None or self._adoption is None:
                return await read_ours(info.key, source.size, pieces)
            return await read_theirs(info.key, source.size, pieces, metadata, self._adoption.profile)

    async def _missing(self, outside: frozenset[bytes]) -> frozenset[bytes]:
        missing = set(outside)
        for part in parts(outside):
            missing.difference_update(await self._index.locate(part))
        return frozenset(missing)

    async def _add(self, info: ObjectInfo, read: ReadObject) -> bool:
        await check_twin(self._objects, self._index, read.new.root)
        if self._adoption is None or not _is_theirs(info.key):
            return await self._adopt(read)
        is_new = await self._index.overwritten(info.key, read.new.root, OPERATOR, _name(info.key))
        is_wanted = is_new and not await self._is_there(read.new.root)
        if is_wanted and not await self._adopt(read):
            return False
        # Until it changes.
        await self._notes.skip(info, "its content is in the index")
        return is_wanted

    async def _adopt(self, read: ReadObject) -> bool:
        kept = await closure_of(self._index, read.outside)
        if not kept.complete:
            logger.warning("%s links to blocks that are nowhere", read.new.key)
        partial = read.new.partial or not kept.complete
        new = replace(read.new, needs=kept.objects, partial=partial, theirs=_is_theirs(read.new.key))
        name = _name(new.key) if new.theirs else ""
        try:
            uploads = [NewUpload(OPERATOR, root, name, new.size) for root in read.roots]
            committed = await self._index.adopt(new, *uploads)
        except UploadGone as error:
            logger.warning("%s is left out: %s", new.key, error)
            return False
        for key in committed.surplus:
            # The same root is there already: this copy serves nobody.
            await self._deletion.now(key)
        return new.key in await self._index.known([new.key])

    async def _is_there(self, root: Cid) -> bool:
        known = await self._index.find(root)
        return known is not None and not known.damaged and not known.partial


def _is_theirs(key: str) -> bool:
    return OUR_KEY.fullmatch(key) is None


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def _is_content(key: str) -> bool:
    """A key that ends in a slash is how S3 tools show an empty folder."""
    return not key.endswith("/") and (not key.startswith(INCOMING) or INCOMING_KEY.fullmatch(key) is not None)
