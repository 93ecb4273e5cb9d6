"""Named keys in Postgres."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from ipld.ipns_name import IpnsName
from naming.named_keys import KeyTaken, KeyUnknown, NamedKey
from naming.postgres_records import Pool, asking

_COLUMNS = "label, name, owner, sealed, lifetime"
_ADD = """
INSERT INTO ipns_keys (label, name, owner, sealed, lifetime) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING RETURNING label
"""
_GET = f"SELECT {_COLUMNS} FROM ipns_keys WHERE label = $1"  # noqa: S608 - constants only, here and below
_BY_NAME = f"SELECT {_COLUMNS} FROM ipns_keys WHERE name = $1"  # noqa: S608
_LIST = f'SELECT {_COLUMNS} FROM ipns_keys ORDER BY label COLLATE "C"'  # noqa: S608
_GIVE = "UPDATE ipns_keys SET owner = $2 WHERE label = $1 RETURNING label"
_PUBLISHED = "UPDATE ipns_keys SET lifetime = $2, announced_at = now() WHERE label = $1"
_CLAIM = """
UPDATE ipns_keys SET announced_at = now()
WHERE label = $1 AND announced_at <= now() - make_interval(secs => $2) RETURNING label
"""


@dataclass(frozen=True, slots=True)
class PostgresNamedKeys:
    """A NamedKeys; `timeout` bounds each call, in seconds."""

    pool: Pool
    timeout: float = 10.0

    async def add(self, key: NamedKey) -> None:
        values = (key.label, key.name.multihash, key.owner, key.sealed, key.lifetime)
        async with asking(self.timeout):
            added = await self.pool.fetchval(_ADD, *values)
        if added is None:
            raise KeyTaken(f"there is a key called {key.label}, or with the name {key.name}, already")

    async def get(self, label: str) -> NamedKey | None:
        async with asking(self.timeout):
            return _key(await self.pool.fetchrow(_GET, label))

    async def by_name(self, name: IpnsName) -> NamedKey | None:
        async with asking(self.timeout):
            return _key(await self.pool.fetchrow(_BY_NAME, name.multihash))

    async def list(self) -> Collection[NamedKey]:
        async with asking(self.timeout):
            return [key for row in await self.pool.fetch(_LIST) if (key := _key(row)) is not None]

    async def give(self, label: str, owner: UUID) -> None:
        async with asking(self.timeout):
            given = await self.pool.fetchval(_GIVE, label, owner)
        if given is None:
            raise KeyUnknown(f"there is no key called {label}")

    async def published(self, label: str, lifetime: float) -> None:
        async with asking(self.timeout):
            await self.pool.execute(_PUBLISHED, label, lifetime)

    async def claim(self, label: str, idle: float) -> bool:
        async with asking(self.timeout):
            return await self.pool.fetchval(_CLAIM, label, idle) is not None


def _key(row: asyncpg.Record | None) -> NamedKey | None:
    if row is None:
        return None
    owner = UUID(int=row["owner"].int)
    return NamedKey(row["label"], IpnsName.of_bytes(row["name"]), owner, row["sealed"], row["lifetime"])
