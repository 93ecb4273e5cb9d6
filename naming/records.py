"""Where IPNS records are kept and where they are looked for: the promises of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from ipld.errors import IpldError, NameUnavailable
from ipld.ipns_name import IpnsName
from ipld.ipns_record import IpnsRecord
from naming.via import Via

Make = Callable[[IpnsRecord | None], IpnsRecord]


class Origin(IntEnum):
    """How a record came here; a name never goes back to a lower one."""

    FOUND = 0  # by looking for it elsewhere: may be dropped, and is looked for again
    GIVEN = 1  # by somebody who may write here: kept
    OWN = 2  # signed with a key that lies here: nobody else has a newer one


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record and when it was last certain that there is no newer one, in seconds since 1970."""

    record: IpnsRecord
    origin: Origin
    checked_at: float


class OlderRecord(IpldError):
    """A newer record of the name is here already, and an older one never takes its place."""


class RecordsUnavailable(NameUnavailable):
    """A place that may have the record failed, and no other has one."""


class RecordStore(Protocol):
    """One record a name, the newest that was ever seen. Every method raises StoreUnavailable.

    Callers have verified the records that they put.
    """

    async def get(self, name: IpnsName) -> StoredRecord | None:
        """The record of a name, also an expired one."""
        ...

    async def put(self, name: IpnsName, record: IpnsRecord, origin: Origin) -> StoredRecord:
        """Keep the record unless a newer one is here; what is here now. Counts as checked now."""
        ...

    async def checked(self, name: IpnsName) -> None:
        """Note that nobody knows a newer record just now."""
        ...

    async def advance(self, name: IpnsName, make: Make) -> IpnsRecord:
        """Put what `make` makes of the record that is here, with nobody in between, on any machine.

        `make` is quick, and may return what it was given. Raises OlderRecord if what it made is older.
        """
        ...

    async def prune(self, unused: float, most: int) -> int:
        """Drop records that were FOUND and not checked for `unused` seconds, and all but the `most` last
        checked; how many those were."""
        ...


class RecordSource(Protocol):
    """A place elsewhere that may know records."""

    @property
    def url(self) -> str:
        """Which one it is."""
        ...

    async def find(self, name: IpnsName, via: Via = ()) -> IpnsRecord | None:
        """A verified record, or None where there is none. `via` are the gateways that want to know.

        Raises InvalidRecord for one that does not count, and StoreUnavailable.
        """
        ...
