"""How far `cidgate reindex` came, and which objects it need not read again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import asyncpg

from storage.objects import ObjectInfo
from storage.transactions import unavailable_is_said


class ReindexNotes(Protocol):
    """Notes that outlive a run which was cut short."""

    async def cursor(self) -> str:
        """Every key up to this one was dealt with; empty at the beginning."""
        ...

    async def reached(self, key: str) -> None:
        """Every key up to this one is dealt with; empty once all are."""
        ...

    async def skip(self, info: ObjectInfo, reason: str) -> None:
        """The object is dealt with, indexed or not, as long as it does not change."""
        ...

    async def skipped(self, infos: Sequence[ObjectInfo]) -> frozenset[str]:
        """The keys of those that were dealt with and have not changed since."""
        ...

    async def forget(self) -> None:
        """Begin anew with the first key, and read every object again."""
        ...


class MemoryNotes:
    """The twin that unit tests use."""

    def __init__(self) -> None:
        self._cursor = ""
        self._skipped: dict[str, ObjectInfo] = {}

    async def cursor(self) -> str:
        return self._cursor

    async def reached(self, key: str) -> None:
        self._cursor = key

    async def skip(self, info: ObjectInfo, reason: str) -> None:
        self._skipped[info.key] = info

    async def skipped(self, infos: Sequence[ObjectInfo]) -> frozenset[str]:
        return frozenset(info.key for info in infos if self._skipped.get(info.key) == info)

    async def forget(self) -> None:
        self._cursor = ""
        self._skipped.clear()


class PostgresNotes:
    """Notes of the store `name`, which is a bucket or a folder."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], name: str) -> None:
        self._pool = pool
        self._name = name

    async def cursor(self) -> str:
        async with unavailable_is_said():
            found = await self._pool.fetchval(
                "SELECT after FROM reindex_cursors WHERE store = $1", self._name
            )
        return str(found or "")

    async def reached(self, key: str) -> None:
        async with unavailable_is_said():
            await self._pool.execute(
                """INSERT INTO reindex_cursors (store, after) VALUES ($1, $2)
                ON CONFLICT (store) DO UPDATE SET after = excluded.after, reached_at = now()""",
                self._name,
                key,
            )

    async def skip(self, info: ObjectInfo, reason: str) -> None:
        async with unavailable_is_said():
            await self._pool.execute(
                """INSERT INTO reindex_skipped (store, key, size, modified, reason)
                VALUES ($1, $2, $3, $4, $5)
                ON CONFLICT (store, key) DO UPDATE SET size = excluded.size, modified = excluded.modified,
                reason = excluded.reason""",
                self._name,
                info.key,
                info.size,
                info.modified,
                reason.replace("\0", "?"),
            )

    async def skipped(self, infos: Sequence[ObjectInfo]) -> frozenset[str]:
        async with unavailable_is_said():
            rows = await self._pool.fetch(
                "SELECT key, size, modified FROM reindex_skipped WHERE store = $1 AND key = ANY($2)",
                self._name,
                [info.key for info in infos],
            )
        known = {str(row["key"]): (int(row["size"]), float(row["modified"])) for row in rows}
        return frozenset(info.key for info in infos if known.get(info.key) == (info.size, info.modified))

    async def forget(self) -> None:
        async with unavailable_is_said(), self._pool.acquire() as connection, connection.transaction():
            await connection.execute("DELETE FROM reindex_cursors WHERE store = $1", self._name)
            await connection.execute("DELETE FROM reindex_skipped WHERE store = $1", self._name)
