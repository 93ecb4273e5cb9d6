"""Files in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from ipld.cid import Cid
from storage.files import CLEANUP, FileQuery, Freed, KeptFile, Match, Place
from storage.index import Released, forms
from storage.postgres_uploads import take_out
from storage.transactions import Connection, Pool, in_transaction, unavailable_is_said
from storage.upload_log import Action, plain

_COLUMNS = "id, owner, root, name, size, created_at, expires_at"
_FIND = f"SELECT {_COLUMNS} FROM uploads WHERE owner = $1 AND id = $2"  # noqa: S608 - constants only
# `position` and not LIKE: no character of a name means anything else.
_MATCHES = {
    Match.EXACT: "name = {name}",
    Match.IEXACT: "lower(name {collate}) = lower({name} {collate})",
    Match.PARTIAL: "position({name} IN name) > 0",
    Match.IPARTIAL: "position(lower({name} {collate}) IN lower(name {collate})) > 0",
}
# They know the case of every alphabet, which the locale of a database need not (C, as in the embedded one).
# In a database there may be any of them: since Postgres 17; where the system has it; where ICU is built in.
_COLLATIONS = ("pg_c_utf8", "C.utf8", "und-x-icu")
_COLLATION = """
SELECT quote_ident(collname) FROM pg_collation
WHERE collname = ANY($1::text[]) AND collnamespace = 'pg_catalog'::regnamespace
AND collencoding IN (-1, (SELECT encoding FROM pg_database WHERE datname = current_database()))
ORDER BY array_position($1::text[], collname::text) LIMIT 1
"""
_EXPIRED = f"""
SELECT {_COLUMNS} FROM uploads
WHERE expires_at <= now() AND ($1::timestamptz IS NULL OR (expires_at, id) > ($1, $2::uuid))
ORDER BY expires_at, id LIMIT $3
"""  # noqa: S608 - constants only
# What another cleanup is at, or an upload is about to keep for longer, is passed over.
_TAKE_EXPIRED = """
SELECT id FROM uploads WHERE expires_at <= now() ORDER BY expires_at, id LIMIT $1 FOR UPDATE SKIP LOCKED
"""
_FREED = """
SELECT count(*), coalesce(sum(size), 0)::bigint FROM objects
WHERE id IN (SELECT object_id FROM holds JOIN uploads ON uploads.id = upload_id WHERE expires_at <= now())
AND NOT EXISTS (
    SELECT FROM holds JOIN uploads ON uploads.id = upload_id
    WHERE object_id = objects.id AND (expires_at IS NULL OR expires_at > now())
)
"""


class PostgresFiles:
    """`pool` is shared with the rest of the program and closed by whoever opened it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        # None before it was asked for.
        self._collate: str | None = None

    async def page(self, query: FileQuery) -> Sequence[KeptFile]:
        async with unavailable_is_said():
            if self._collate is None:
                found = await self._pool.fetchval(_COLLATION, list(_COLLATIONS))
                self._collate = "" if found is None else f"COLLATE {found}"
            statement, values = _page(query, self._collate)
            return [_file(row) for row in await self._pool.fetch(statement, *values)]

    async def find(self, owner: UUID, file_id: UUID) -> KeptFile | None:
        async with unavailable_is_said():
            row = await self._pool.fetchrow(_FIND, owner, file_id)
        return None if row is None else _file(row)

    async def release(self, owner: UUID, file_id: UUID, client: str | None) -> Released:
        async def work(connection: Connection) -> Released:
            found = await connection.fetch(
                "SELECT id FROM uploads WHERE owner = $1 AND id = $2 FOR UPDATE", owner, file_id
            )
            return await take_out(connection, [row[0] for row in found], Action.DELETE, client)

        return await in_transaction(self._pool, work)

    async def expired(self, after: Place | None, limit: int) -> Sequence[KeptFile]:
        at, file_id = (after.at, after.file_id) if after else (None, None)
        async with unavailable_is_said():
            return [_file(row) for row in await self._pool.fetch(_EXPIRED, at, file_id, limit)]

    async def expire(self, limit: int) -> Released:
        async def work(connection: Connection) -> Released:
            found = await connection.fetch(_TAKE_EXPIRED, limit)
            return await take_out(connection, [row[0] for row in found], Action.EXPIRE, CLEANUP)

        return await in_transaction(self._pool, work)

    async def freed(self) -> Freed:
        async with unavailable_is_said():
            row = await self._pool.fetchrow(_FREED)
        assert row is not None
        return Freed(row[0], row[1])


def _page(query: FileQuery, collate: str) -> tuple[str, list[object]]:
    """Only the conditions that there are: one that may be null keeps Postgres from using an index."""
    conditions, values = ["owner = $1"], [query.owner, query.limit]

    def given(value: object) -> str:
        values.append(value)
        return f"${len(values)}"

    if query.name is not None:
        name = f"{given(plain(query.name))}::text"
        conditions.append(_MATCHES[query.match].format(name=name, collate=collate))
    if query.root is not None:
        conditions.append(f"root = ANY({given(forms(query.root))}::bytea[])")
    if query.after is not None:
        conditions.append(f"(created_at, id) < ({given(query.after.at)}, {given(query.after.file_id)})")
    wanted = " AND ".join(conditions)
    statement = f"SELECT {_COLUMNS} FROM uploads WHERE {wanted} ORDER BY created_at DESC, id DESC LIMIT $2"  # noqa: S608 - numbered values
    return statement, values


def _file(row: asyncpg.Record) -> KeptFile:
    file_id, owner, root, name, size, created_at, expires_at = row
    ids = UUID(int=file_id.int), UUID(int=owner.int)
    return KeptFile(*ids, Cid.decode(root), name, size, created_at, expires_at)
