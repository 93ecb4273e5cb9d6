"""IPNS records in a dict: what unit tests use."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace

from ipld.ipns_name import IpnsName
from ipld.ipns_record import IpnsRecord
from naming.records import Make, OlderRecord, Origin, StoredRecord


@dataclass(slots=True)
class MemoryRecords:
    """A RecordStore of one process."""

    _records: dict[IpnsName, StoredRecord] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def get(self, name: IpnsName) -> StoredRecord | None:
        return self._records.get(name)

    async def put(self, name: IpnsName, record: IpnsRecord, origin: Origin) -> StoredRecord:
        before = self._records.get(name)
        if before is not None:
            record = max(before.record, record, key=lambda one: one.order)
            origin = max(before.origin, origin)
        self._records[name] = StoredRecord(record, origin, time.time())
        return self._records[name]

    async def checked(self, name: IpnsName) -> None:
        if name in self._records:
            self._records[name] = replace(self._records[name], checked_at=time.time())

    async def advance(self, name: IpnsName, make: Make) -> IpnsRecord:
        async with self._lock:
            before = self._records.get(name)
            made = make(before.record if before is not None else None)
            stored = await self.put(name, made, Origin.OWN)
            if stored.record != made:
                raise OlderRecord(f"a newer record of {name} is here already")
            return made

    async def prune(self, unused: float, most: int) -> int:
        found = [name for name, stored in self._records.items() if stored.origin is Origin.FOUND]
        found.sort(key=lambda name: -self._records[name].checked_at)
        oldest = time.time() - unused
        dropped = [
            name
            for place, name in enumerate(found)
            if place >= most or self._records[name].checked_at < oldest
        ]
        for name in dropped:
            del self._records[name]
        return len(dropped)
