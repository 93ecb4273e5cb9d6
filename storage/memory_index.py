"""The index in dicts: the twin that unit tests use, held to the same contract as Postgres."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID, uuid4

from ipld.cid import Cid
from storage.files import Freed, KeptFile
from storage.index import (
    BlockRow,
    Closure,
    Committed,
    Kept,
    Location,
    NewObject,
    NewUpload,
    Released,
    StoredObject,
    UploadGone,
    falls_short,
    forms,
)
from storage.upload_log import Action, LogEntry, Outcome


@dataclass(slots=True)
class _Object:
    new: NewObject
    needs: frozenset[int]
    rows: dict[bytes, BlockRow]
    damaged: bool = False


@dataclass(slots=True)
class _Unsettled:
    since: float = field(default_factory=time.monotonic)
    abandoned: bool = False


class MemoryIndex:
    """Nothing survives the process."""

    def __init__(self) -> None:
        self._objects: dict[int, _Object] = {}
        self._holds: dict[UUID, set[int]] = {}
        self._files: dict[tuple[UUID, bytes, str], KeptFile] = {}
        self.log: list[LogEntry] = []
        self._unsettled: dict[str, _Unsettled] = {}
        self._next = 1

    async def locate(self, multihashes: Sequence[bytes]) -> Mapping[bytes, Sequence[Location]]:
        order = sorted(self._objects.items(), key=lambda item: (item[1].damaged, item[0]))
        found: dict[bytes, list[Location]] = {}
        for multihash in dict.fromkeys(multihashes):
            for object_id, stored in order:
                row = stored.rows.get(multihash)
                if row is not None:
                    found.setdefault(multihash, []).append(_location(object_id, stored.new, row))
        return {multihash: copies[:8] for multihash, copies in found.items()}

    async def begin(self, key: str, lasting: float = 0) -> None:
        self._unsettled[key] = _Unsettled(time.monotonic() + lasting)

    async def commit(self, objects: Sequence[NewObject], upload: NewUpload, *more: NewUpload) -> Committed:
        self._check(objects)
        surplus: list[str] = []
        placed: list[int] = []
        for new in objects:
            object_id, dropped = self._place(new, new.needs.union(placed))
            placed.append(object_id)
            surplus.extend(dropped)
        kept = [self._keep(each) for each in (upload, *more)]
        for file in kept:
            held = self._holds.setdefault(file.file_id, set())
            held.update(placed, *(self._objects[object_id].needs for object_id in placed))
        return Committed(placed[-1], surplus, kept)

    def _keep(self, upload: NewUpload) -> Kept:
        now, name = datetime.now(UTC), (upload.owner, upload.root.raw, upload.name)
        expires = None if upload.lifetime is None else now + timedelta(seconds=upload.lifetime)
        file = self._files.get(name)
        if file is None:
            file = KeptFile(uuid4(), upload.owner, upload.root, upload.name, upload.size, now, expires)
        elif file.expires_at is None or expires is None:
            file = replace(file, expires_at=None)
        else:
            file = replace(file, expires_at=max(expires, file.expires_at))
        self._files[name] = file
        if upload.client is not None:
            self.log.append(_log_entry(file, Action.UPLOAD, upload.client))
        return Kept(file.file_id, file.expires_at)

    async def adopt(self, new: NewObject, upload: NewUpload, *more: NewUpload) -> Committed:
        if new.key in self._unsettled or await self.known([new.key]):
            raise UploadGone(f"{new.key} is being written or deleted")
        self._unsettled[new.key] = _Unsettled()
        try:
            return await self.commit([new], upload, *more)
        except UploadGone:
            del self._unsettled[new.key]
            raise

    def _check(self, objects: Sequence[NewObject]) -> None:
        for new in objects:
            if self._twin(new) is not None:
                continue
            state = self._unsettled.get(new.key)
            if state is None or state.abandoned or not new.needs <= self._objects.keys():
                raise UploadGone(new.key)

    def _twin(self, new: NewObject) -> int | None:
        """The object that will do in the place of the new one, of which it has everything."""
        found = self._with_root(new.root, ours_first=not new.theirs)
        if found is None or falls_short(self._stored(found), new):
            return None
        old = self._objects[found]
        covers = new.partial and all(row.multihash in old.rows for row in new.rows)
        return found if covers or not old.new.partial else None

    def _place(self, new: NewObject, needs: frozenset[int]) -> tuple[int, list[str]]:
        twin = self._twin(new)
        if twin is not None:
            return twin, self._give_up(new)
        old = self._with_root(new.root, ours_first=not new.theirs)
        del self._unsettled[new.key]
        object_id, self._next = self._next, self._next + 1
        closure = needs.union(*(self._objects[need].needs for need in needs))
        rows: dict[bytes, BlockRow] = {}
        for row in new.rows:
            rows.setdefault(row.multihash, row)
        self._objects[object_id] = _Object(new, closure, rows)
        if (
            old is None
            or old in closure
            or (new.partial and not self._objects[old].rows.keys() <= rows.keys())
        ):
            return object_id, []
        return object_id, self._replace(old, object_id)

    def _give_up(self, new: NewObject) -> list[str]:
        if new.theirs:
            self._unsettled.pop(new.key, None)
            return []
        if new.key in self._unsettled:
            self._unsettled[new.key].abandoned = True
        return [new.key]

    def _replace(self, old: int, new: int) -> list[str]:
        instead = {new} | self._objects[new].needs
        for held in self._holds.values():
            if old in held:
                held.remove(old)
                held.update(instead)
        for stored in self._objects.values():
            if old in stored.needs:
                stored.needs = (stored.needs - {old}) | instead
        return self._drop_unheld({old})

    def _with_root(self, root: Cid, *, ours_first: bool = False) -> int | None:
        wanted = forms(root)
        matching = [item for item in self._objects.items() if item[1].new.root.raw in wanted]
        return min(matching, key=partial(_order, ours_first=ours_first))[0] if matching else None

    def _stored(self, found: int) -> StoredObject:
        stored, new = self._objects[found], self._objects[found].new
        known = (found, new.key, new.layout, new.root, new.size, new.profile)
        return StoredObject(*known, stored.damaged, new.partial, new.theirs, new.published)

    async def keep(self, upload: NewUpload, objects: frozenset[int]) -> Kept:
        if not objects <= self._objects.keys():
            raise UploadGone(str(upload.root))
        kept = self._keep(upload)
        needs = (self._objects[object_id].needs for object_id in objects)
        self._holds.setdefault(kept.file_id, set()).update(objects, *needs)
        return kept

    async def find(self, root: Cid) -> StoredObject | None:
        found = self._with_root(root)
        return None if found is None else self._stored(found)

    async def release(self, owner: UUID, root: Cid, client: str | None = None) -> Released:
        gone = [file for file in self.files() if file.owner == owner and file.root.raw in forms(root)]
        return self.take_out(gone, Action.DELETE, client)

    def files(self) -> Sequence[KeptFile]:
        """Every one of every owner."""
        return list(self._files.values())

    def take_out(self, files: Sequence[KeptFile], action: Action, client: str | None) -> Released:
        """Let go of these files, and of the objects that nobody holds without them."""
        held: set[int] = set()
        for file in files:
            del self._files[file.owner, file.root.raw, file.name]
            held |= self._holds.pop(file.file_id)
        if client is not None:
            self.log += [_log_entry(file, action, client) for file in files]
        return Released(bool(files), self._drop_unheld(held), len(files))

    def held_by_these_alone(self, files: Iterable[KeptFile]) -> Freed:
        """What would go with them."""
        these = {file.file_id for file in files}
        others = [held for file_id, held in self._holds.items() if file_id not in these]
        alone = set().union(*(self._holds[file_id] for file_id in these)).difference(*others)
        return Freed(len(alone), sum(self._objects[object_id].new.size for object_id in alone))

    def _drop_unheld(self, candidates: set[int]) -> list[str]:
        gone = candidates.difference(*self._holds.values())
        dropped = [self._objects.pop(object_id).new for object_id in sorted(gone)]
        keys = [new.key for new in dropped if not new.theirs]
        for key in keys:
            self._unsettled[key] = _Unsettled(abandoned=True)
        for stored in self._objects.values():
            stored.needs -= gone
        return keys

    async def closure(self, multihashes: Sequence[bytes]) -> Closure:
        objects: set[int] = set()
        complete = True
        for multihash in multihashes:
            homes = [item for item in self._objects.items() if multihash in item[1].rows]
            if not homes:
                complete = False
                continue
            home, stored = min(homes, key=_order)
            complete = complete and not stored.new.partial
            objects |= {home} | stored.needs
        return Closure(frozenset(objects), complete)

    async def overwritten(self, key: str, root: Cid | None, owner: UUID, name: str) -> bool:
        theirs = [item for item in self._objects.items() if item[1].new.key == key and item[1].new.theirs]
        if not theirs:
            return True
        [(object_id, stored)] = theirs
        if root is not None and stored.new.root.raw in forms(root) and not stored.damaged:
            return False
        stored.new = replace(stored.new, key=f"cidgate/overwritten/{object_id}")
        stored.damaged = True
        named = [file for file in self.files() if (file.owner, file.name) == (owner, name)]
        lost = [
            file
            for file in named
            if object_id in self._holds[file.file_id] and file.root.multihash in stored.rows
        ]
        self.take_out(lost, Action.DELETE, None)
        return True

    async def mark_damaged(self, object_id: int) -> None:
        if object_id in self._objects:
            self._objects[object_id].damaged = True

    async def unsettled(self, older_than: float) -> Sequence[str]:
        latest = time.monotonic() - older_than
        return [key for key, state in self._unsettled.items() if state.abandoned or state.since <= latest]

    async def abandon(self, key: str) -> bool:
        if key in self._unsettled:
            self._unsettled[key].abandoned = True
        return key in self._unsettled

    async def settle(self, key: str) -> None:
        if key in self._unsettled and self._unsettled[key].abandoned:
            del self._unsettled[key]

    async def known(self, keys: Sequence[str]) -> frozenset[str]:
        return frozenset(keys) & {stored.new.key for stored in self._objects.values()}


def _log_entry(file: KeptFile, action: Action, client: str) -> LogEntry:
    cid = str(file.root)
    return LogEntry(action, Outcome.DONE, file.owner, client, file.file_id, cid, file.name, file.size)


def _order(item: tuple[int, _Object], *, ours_first: bool = False) -> tuple[bool, bool, bool, bool, int]:
    """The best comes first."""
    object_id, stored = item
    new = stored.new
    return stored.damaged, new.theirs and ours_first, new.partial, new.theirs, object_id


def _location(object_id: int, new: NewObject, row: BlockRow) -> Location:
    return Location(object_id, new.key, new.layout, row.offset, row.length, row.wrapped, row.inline)
