"""IPNS records in Postgres, where all gateways share them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

import asyncpg

from ipld.errors import StoreUnavailable
from ipld.ipns_name import IpnsName
from ipld.ipns_record import IpnsRecord
from naming.records import Make, OlderRecord, Origin, StoredRecord

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

_COLUMNS = "record, origin, extract(epoch FROM checked_at)::float8 AS checked_at"
_GET = f"SELECT {_COLUMNS} FROM ipns_records WHERE name = $1"  # noqa: S608 - constants only, here and below
# The order of records is that of IpnsRecord.order; bytea compares like bytes.
_NEWER = "(new.sequence, new.eol, new.record) > (old.sequence, old.eol, old.record)"
_PUT = f"""
INSERT INTO ipns_records AS old (name, record, sequence, eol, origin) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (name) DO UPDATE SET
    (record, sequence, eol) = (
        SELECT CASE WHEN newer THEN new.record ELSE old.record END,
            CASE WHEN newer THEN new.sequence ELSE old.sequence END,
            CASE WHEN newer THEN new.eol ELSE old.eol END
        FROM (SELECT excluded.record, excluded.sequence, excluded.eol) AS new,
            LATERAL (SELECT {_NEWER} AS newer) AS compared
    ),
    origin = greatest(old.origin, excluded.origin),
    checked_at = now()
RETURNING {_COLUMNS}
"""  # noqa: S608
_CHECKED = "UPDATE ipns_records SET checked_at = now() WHERE name = $1"
# Held until the transaction ends; the second number keeps these locks apart from others.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(encode($1, 'hex'), 0x69706e73))"
_PRUNE = """
DELETE FROM ipns_records WHERE origin = 0 AND (
    checked_at < now() - make_interval(secs => $1)
    OR name IN (SELECT name FROM ipns_records WHERE origin = 0 ORDER BY checked_at DESC OFFSET $2)
)
"""


@dataclass(frozen=True, slots=True)
class PostgresRecords:
    """A RecordStore; `timeout` bounds each call, in seconds, the wait for a connection with it."""

    pool: Pool
    timeout: float = 10.0

    async def get(self, name: IpnsName) -> StoredRecord | None:
        async with asking(self.timeout):
            row = await self.pool.fetchrow(_GET, name.multihash)
        return None if row is None else _stored(row)

    async def put(self, name: IpnsName, record: IpnsRecord, origin: Origin) -> StoredRecord:
        async with asking(self.timeout):
            row = await self.pool.fetchrow(_PUT, *_values(name, record, origin))
        return _stored(row)

    async def checked(self, name: IpnsName) -> None:
        async with asking(self.timeout):
            await self.pool.execute(_CHECKED, name.multihash)

    async def advance(self, name: IpnsName, make: Make) -> IpnsRecord:
        async with (
            asking(self.timeout),
            self.pool.acquire() as connection,
            connection.transaction(),
        ):
            await connection.execute(_LOCK, name.multihash)
            before = await connection.fetchrow(_GET, name.multihash)
            made = make(None if before is None else _stored(before).record)
            after = _stored(await connection.fetchrow(_PUT, *_values(name, made, Origin.OWN)))
            # A record that was put meanwhile, without the lock, may be newer than what was made.
            if after.record != made:
                raise OlderRecord(f"a newer record of {name} is here already")
            return made

    async def prune(self, unused: float, most: int) -> int:
        async with asking(self.timeout):
            done = await self.pool.execute(_PRUNE, unused, most)
        return int(done.removeprefix("DELETE "))


def _values(name: IpnsName, record: IpnsRecord, origin: Origin) -> tuple[object, ...]:
    return name.multihash, record.raw, record.sequence, record.eol, int(origin)


def _stored(row: asyncpg.Record | None) -> StoredRecord:
    if row is None:
        raise StoreUnavailable("the database of IPNS records gave no answer")
    return StoredRecord(IpnsRecord.decode(row["record"]), Origin(row["origin"]), row["checked_at"])


@asynccontextmanager
async def asking(seconds: float) -> AsyncGenerator[None, None]:
    """What goes wrong with Postgres becomes StoreUnavailable. The time includes the wait for a
    connection, which asyncpg's own timeouts leave out."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except (
        OSError,
        TimeoutError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
    ) as error:
        raise StoreUnavailable("the database of IPNS names cannot be asked now") from error
