"""IPNS names: their records, from our own store first and then from elsewhere, and where they point."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ipld.errors import (
    InvalidName,
    InvalidRecord,
    NameNotFound,
    RecordNotFound,
    StoreUnavailable,
)
from ipld.ipns_name import IpnsName
from ipld.ipns_record import IpnsRecord
from ipld.names import ResolvedName
from naming.record_search import RecordSearch
from naming.records import OlderRecord, Origin, RecordStore, StoredRecord
from naming.via import Via

logger = logging.getLogger(__name__)

# How long to go on with what is here while nobody elsewhere can be asked, in seconds.
UNSURE_TTL = 30
# The spec's suggestion, for records that state no TTL.
DEFAULT_TTL = 300
# However short the TTL of a record is, others are not asked for it more often, in seconds.
MIN_SEARCH_SECONDS = 5
# A record may say a hundred years; then changes would never be seen.
MAX_TTL = 24 * 3600
# Of what was merely found, records that nobody asked for in a week are dropped, and all beyond so many.
FOUND_SECONDS = 7 * 24 * 3600.0
MAX_FOUND = 100_000


@dataclass(frozen=True, slots=True)
class Current:
    """The newest record that is known. `ttl` is how long to rely on it, in whole seconds, never past its
    end; `since` the time of its last check, in seconds since 1970."""

    record: IpnsRecord
    ttl: int
    since: float


@dataclass(frozen=True, slots=True)
class IpnsNames:
    """A NameResolver of IPNS names. `listeners` hear the names whose record was replaced here; `via` are the
    gateways that ask through this one."""

    store: RecordStore
    search: RecordSearch = field(default_factory=lambda: RecordSearch([]))
    max_ttl: int = MAX_TTL
    listeners: list[Callable[[str], None]] = field(default_factory=list)
    via: Via = ()

    def asked_by(self, via: Via) -> IpnsNames:
        """The same names for a question that came through these gateways: none of them is asked again."""
        return replace(self, via=via) if via else self

    async def resolve(self, name: str) -> ResolvedName:
        """One step. Raises NameNotFound for what is no IPNS name, and what `current` raises."""
        try:
            parsed = IpnsName.parse(name)
        except InvalidName as error:
            raise NameNotFound(f"/ipns/{name[:255]} leads nowhere: {error}") from error
        current = await self.current(parsed)
        return ResolvedName(current.record.path(), current.ttl, current.record.expires)

    async def current(self, name: IpnsName) -> Current:
        """The newest record, verified now.

        Raises RecordNotFound, InvalidRecord (ExpiredRecord) and StoreUnavailable.
        """
        stored = await self.store.get(name)
        if stored is not None and self._is_fresh(stored, time.time()):
            return self._current(name, stored)
        if self.search.is_circle(self.via):
            if stored is None:
                raise _nowhere(name)
            return self._current(name, stored, UNSURE_TTL)
        try:
            found = await self.search(name, self.via)
        except (InvalidRecord, StoreUnavailable) as error:
            if stored is None:
                raise
            logger.warning("going on with the record of %s that is here: %s", name, error)
            return self._current(name, stored, UNSURE_TTL)
        return await self._settled(name, stored, found)

    async def put(self, name: IpnsName, raw: bytes) -> IpnsRecord:
        """Take a record from somebody who may write here.

        Raises InvalidRecord, OlderRecord and StoreUnavailable.
        """
        record = IpnsRecord.decode(raw)
        record.verify(name, time.time())
        record.path()
        stored = await self.store.put(name, record, Origin.GIVEN)
        if stored.record != record:
            raise OlderRecord(
                f"a newer record of {name} is here already: its sequence is {stored.record.sequence}, "
                f"that of the one given {record.sequence}"
            )
        self.changed(name)
        return record

    def changed(self, name: IpnsName) -> None:
        """A newer record of the name is here."""
        for listener in self.listeners:
            listener(str(name))

    async def prune(self) -> int:
        """Drop what was found and is no longer asked for."""
        return await self.store.prune(FOUND_SECONDS, MAX_FOUND)

    async def _settled(
        self, name: IpnsName, stored: StoredRecord | None, found: IpnsRecord | None
    ) -> Current:
        if found is not None:
            stored = await self.store.put(name, found, Origin.FOUND)
        elif stored is not None and not self.via:
            # With `via` somebody was left out, who may have a newer one.
            await self.store.checked(name)
            stored = StoredRecord(stored.record, stored.origin, time.time())
        if stored is None:
            raise _nowhere(name)
        return self._current(name, stored)

    def _is_fresh(self, stored: StoredRecord, now: float) -> bool:
        if stored.origin is Origin.OWN or not self.search.has_sources:
            return True
        good_for = max(self._ttl_of(stored.record), MIN_SEARCH_SECONDS)
        return not stored.record.has_ended(now) and now < stored.checked_at + good_for

    def _ttl_of(self, record: IpnsRecord) -> int:
        ttl = record.ttl_seconds
        return min(DEFAULT_TTL if ttl is None else ttl, self.max_ttl)

    def _current(self, name: IpnsName, stored: StoredRecord, ttl: int | None = None) -> Current:
        now = time.time()
        record = stored.record
        record.verify(name, now)
        if ttl is None:
            ttl = self._ttl_of(record)
            if stored.origin is not Origin.OWN and self.search.has_sources:
                ttl -= int(now - stored.checked_at)
        return Current(record, max(0, min(ttl, int(record.expires - now))), stored.checked_at)


def _nowhere(name: IpnsName) -> RecordNotFound:
    return RecordNotFound(f"no place that this gateway asks has a record of the IPNS name {name}")
