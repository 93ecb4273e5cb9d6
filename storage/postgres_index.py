"""The index in Postgres."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from uuid import UUID

import asyncpg

from ipld.cid import Cid
from storage.index import (
    Closure,
    Committed,
    Kept,
    Layout,
    Location,
    NewObject,
    NewUpload,
    Released,
    StoredObject,
    UploadGone,
    forms,
)
from storage.postgres_placing import find, hold, place, raise_epoch
from storage.postgres_uploads import overwritten, take_out, upload_row
from storage.transactions import Connection, in_transaction, unavailable_is_said
from storage.transactions import Pool as Pool  # noqa: PLC0414 - others know it from here
from storage.upload_log import Action

_BEGIN = """
INSERT INTO unsettled_objects (key, since) VALUES ($1, now() + make_interval(secs => $2))
ON CONFLICT (key) DO UPDATE SET since = excluded.since, abandoned = false
"""

# What a lookup returns of one block at most; it stands in the statements too.
MAX_COPIES = 8

_LOCATE = """
SELECT wanted.multihash, b.object_id, b."offset", b.length, b.wrapped, b.inline, o.key, o.layout,
    o.damaged_at IS NOT NULL
FROM unnest($1::bytea[]) AS wanted(multihash)
CROSS JOIN LATERAL (
    SELECT * FROM blocks WHERE blocks.multihash = wanted.multihash ORDER BY object_id LIMIT 8
) AS b
JOIN objects AS o ON o.id = b.object_id
ORDER BY (o.damaged_at IS NOT NULL), b.object_id
"""

# Slower: it may pass over many damaged copies before it meets a sound one.
_LOCATE_SOUND = """
SELECT wanted.multihash, b.*, false
FROM unnest($1::bytea[]) AS wanted(multihash)
CROSS JOIN LATERAL (
    SELECT object_id, "offset", length, wrapped, inline, key, layout
    FROM blocks JOIN objects ON objects.id = object_id
    WHERE blocks.multihash = wanted.multihash AND damaged_at IS NULL
    ORDER BY object_id LIMIT 8
) AS b
ORDER BY b.object_id
"""

# Any whole and sound copy will do; a block that is in millions of objects is not sorted out of all.
_CLOSURE = """
WITH homes AS (
    SELECT wanted.multihash, home.id, home.partial
    FROM unnest($1::bytea[]) AS wanted(multihash)
    LEFT JOIN LATERAL (
        SELECT objects.id, objects.partial FROM (
            SELECT object_id FROM blocks WHERE blocks.multihash = wanted.multihash
            ORDER BY object_id LIMIT 64
        ) AS copies JOIN objects ON objects.id = object_id
        ORDER BY (damaged_at IS NOT NULL), partial, theirs, objects.id LIMIT 1
    ) AS home ON true
), held AS (
    SELECT id FROM homes WHERE id IS NOT NULL
    UNION SELECT needs_id FROM object_needs JOIN homes ON object_id = homes.id
)
SELECT coalesce((SELECT array_agg(id) FROM held), '{}'),
    NOT EXISTS (SELECT FROM homes WHERE id IS NULL OR partial)
"""


class PostgresIndex:
    """`pool` is shared with the rest of the program and closed by whoever opened it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def locate(self, multihashes: Sequence[bytes]) -> Mapping[bytes, Sequence[Location]]:
        wanted = list(dict.fromkeys(multihashes))
        found: dict[bytes, list[Location]] = {}
        sound: set[bytes] = set()
        async with unavailable_is_said():
            _collect(await self._pool.fetch(_LOCATE, wanted), found, sound)
            # The lookup stops at so many copies, sound or not.
            worn = [
                known for known, copies in found.items() if len(copies) == MAX_COPIES and known not in sound
            ]
            if worn:
                better: dict[bytes, list[Location]] = {}
                _collect(await self._pool.fetch(_LOCATE_SOUND, worn), better, sound)
                for multihash, copies in better.items():
                    found[multihash] = [*copies, *found[multihash]][:MAX_COPIES]
        return found

    async def begin(self, key: str, lasting: float = 0) -> None:
        async with unavailable_is_said():
            await self._pool.execute(_BEGIN, key, lasting)

    async def commit(self, objects: Sequence[NewObject], upload: NewUpload, *more: NewUpload) -> Committed:
        return await self._commit(objects, (upload, *more))

    async def adopt(self, new: NewObject, upload: NewUpload, *more: NewUpload) -> Committed:
        async def begin(connection: Connection) -> None:
            await connection.execute("INSERT INTO unsettled_objects (key) VALUES ($1)", new.key)
            if await connection.fetchval("SELECT EXISTS (SELECT FROM objects WHERE key = $1)", new.key):
                raise UploadGone(f"{new.key} is in the index already")

        try:
            return await self._commit([new], (upload, *more), begin)
        except asyncpg.UniqueViolationError as error:
            raise UploadGone(f"{new.key} is being written or deleted") from error

    async def _commit(
        self,
        objects: Sequence[NewObject],
        uploads: Sequence[NewUpload],
        begin: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> Committed:
        async def work(connection: Connection) -> Committed:
            if begin is not None:
                await begin(connection)
            # Before any object, because a release of the same upload begins with the same lock.
            kept = {
                each: await upload_row(connection, each)
                for each in sorted(uploads, key=lambda one: one.root.raw)
            }
            placed: list[int] = []
            surplus: list[str] = []
            replaced = 0
            for new in objects:
                object_id, dropped = await place(connection, new, new.needs.union(placed))
                placed.append(object_id)
                surplus.extend(dropped.keys)
                replaced += dropped.objects
            for row in kept.values():
                await hold(connection, row.file_id, placed)
            if replaced:
                await raise_epoch(connection)
            return Committed(placed[-1], surplus, [kept[each] for each in uploads])

        with _gone_is_said():
            return await in_transaction(self._pool, work)

    async def keep(self, upload: NewUpload, objects: frozenset[int]) -> Kept:
        async def work(connection: Connection) -> Kept:
            kept = await upload_row(connection, upload)
            await hold(connection, kept.file_id, sorted(objects))
            return kept

        with _gone_is_said():
            return await in_transaction(self._pool, work)

    async def find(self, root: Cid) -> StoredObject | None:
        async with unavailable_is_said(), self._pool.acquire() as connection:
            return await find(connection, root)

    async def release(self, owner: UUID, root: Cid, client: str | None = None) -> Released:
        async def work(connection: Connection) -> Released:
            # Locked before the holds are read: a commit to the same upload may be adding to them.
            uploads = await connection.fetch(
                "SELECT id FROM uploads WHERE owner = $1 AND root = ANY($2::bytea[]) ORDER BY id FOR UPDATE",
                owner,
                forms(root),
            )
            return await take_out(connection, [row[0] for row in uploads], Action.DELETE, client)

        return await in_transaction(self._pool, work)

    async def closure(self, multihashes: Sequence[bytes]) -> Closure:
        async with unavailable_is_said():
            row = await self._pool.fetchrow(_CLOSURE, list(dict.fromkeys(multihashes)))
        assert row is not None
        return Closure(frozenset(row[0]), row[1])

    async def overwritten(self, key: str, root: Cid | None, owner: UUID, name: str) -> bool:
        return await in_transaction(
            self._pool, lambda connection: overwritten(connection, key, root, owner, name)
        )

    async def mark_damaged(self, object_id: int) -> None:
        async with unavailable_is_said():
            await self._pool.execute(
                "UPDATE objects SET damaged_at = now() WHERE id = $1 AND damaged_at IS NULL", object_id
            )

    async def unsettled(self, older_than: float) -> Sequence[str]:
        async with unavailable_is_said():
            rows = await self._pool.fetch(
                """SELECT key FROM unsettled_objects
                WHERE abandoned OR since <= now() - make_interval(secs => $1) ORDER BY since""",
                older_than,
            )
        return [row[0] for row in rows]

    async def abandon(self, key: str) -> bool:
        async with unavailable_is_said():
            row = await self._pool.fetchval(
                "UPDATE unsettled_objects SET abandoned = true WHERE key = $1 RETURNING 1", key
            )
        return row is not None

    async def settle(self, key: str) -> None:
        async with unavailable_is_said():
            await self._pool.execute("DELETE FROM unsettled_objects WHERE key = $1 AND abandoned", key)

    async def known(self, keys: Sequence[str]) -> frozenset[str]:
        async with unavailable_is_said():
            rows = await self._pool.fetch("SELECT key FROM objects WHERE key = ANY($1::text[])", list(keys))
        return frozenset(row[0] for row in rows)


@contextmanager
def _gone_is_said() -> Generator[None, None, None]:
    try:
        yield
    except asyncpg.ForeignKeyViolationError as error:
        raise UploadGone("content that the upload builds on was deleted meanwhile") from error


def _collect(rows: Sequence[asyncpg.Record], found: dict[bytes, list[Location]], sound: set[bytes]) -> None:
    for multihash, object_id, offset, length, wrapped, inline, key, layout, damaged in rows:
        location = Location(object_id, key, Layout(layout), offset, length, wrapped, inline)
        found.setdefault(multihash, []).append(location)
        if not damaged:
            sound.add(multihash)
