"""API keys in Postgres: all the SQL of this package."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

import asyncpg

from auth.errors import KeyExists, KeysUnavailable
from auth.keys import ApiKey, KeyRequest, NewKey, Scope, choose, hash_secret, is_well_formed, same_hash

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

_COLUMNS = "id, name, prefix, scopes, created_at, expires_at, last_used_at, revoked_at, uploads_expire_in"
# The database's clock decides, and not that of whichever machine asks.
_GOOD = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"
_CREATE = f"""
    INSERT INTO api_keys (id, name, prefix, scopes, expires_at, uploads_expire_in, secret_hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (secret_hash) DO NOTHING RETURNING {_COLUMNS}
"""  # noqa: S608 - constants only, here and below
_LIST = f"SELECT {_COLUMNS} FROM api_keys ORDER BY created_at, id"  # noqa: S608
_REVOKE = f"UPDATE api_keys SET revoked_at = now() WHERE id = $1 RETURNING {_COLUMNS}"  # noqa: S608
_AUTHENTICATE = f"SELECT {_COLUMNS}, secret_hash FROM api_keys WHERE secret_hash = $1 AND {_GOOD}"  # noqa: S608
_IS_GOOD = f"SELECT EXISTS (SELECT FROM api_keys WHERE id = $1 AND {_GOOD})"  # noqa: S608
_TOUCH = """
    UPDATE api_keys SET last_used_at = greatest(last_used_at, used.at)
    FROM unnest($1::uuid[], $2::timestamptz[]) AS used (id, at) WHERE api_keys.id = used.id
"""


@dataclass(frozen=True, slots=True)
class PostgresKeys:
    pool: Pool
    timeout: float = 5.0

    async def create(self, request: KeyRequest) -> NewKey:
        new = request.make()
        key = new.key
        ends = key.expires_at, key.uploads_expire_in
        values = (key.id, key.name, key.prefix, sorted(key.scopes), *ends, hash_secret(new.secret))
        async with _asking(self.timeout):
            row = await self.pool.fetchrow(_CREATE, *values)
        if row is None:
            raise KeyExists("there is a key with this secret already")
        return NewKey(_key(row), new.secret)

    async def list(self) -> Collection[ApiKey]:
        async with _asking(self.timeout):
            return [_key(row) for row in await self.pool.fetch(_LIST)]

    async def revoke(self, wanted: str) -> ApiKey:
        key = choose(await self.list(), wanted)
        async with _asking(self.timeout):
            row = await self.pool.fetchrow(_REVOKE, key.id)
        return key if row is None else _key(row)

    async def authenticate(self, secret: str) -> ApiKey | None:
        if not is_well_formed(secret):
            return None
        digest = hash_secret(secret)
        async with _asking(self.timeout):
            row = await self.pool.fetchrow(_AUTHENTICATE, digest)
        # An index compares byte by byte, but of a hash: whoever times it learns nothing about a secret.
        if row is None or not same_hash(row["secret_hash"], digest):
            return None
        return _key(row)

    async def is_good(self, key: UUID) -> bool:
        async with _asking(self.timeout):
            return await self.pool.fetchval(_IS_GOOD, key) is True

    async def touch(self, used: Mapping[UUID, datetime]) -> None:
        # In one order everywhere, so that two gateways never lock the same rows crosswise.
        rows = sorted(used.items())
        async with _asking(self.timeout):
            ids, times = [key for key, _ in rows], [at for _, at in rows]
            await self.pool.execute(_TOUCH, ids, times)


def _key(row: asyncpg.Record) -> ApiKey:
    scopes = frozenset(Scope(scope) for scope in row["scopes"])
    return ApiKey(
        id=UUID(int=row["id"].int),
        name=row["name"],
        prefix=row["prefix"],
        scopes=scopes,
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
        revoked_at=row["revoked_at"],
        uploads_expire_in=row["uploads_expire_in"],
    )


@asynccontextmanager
async def _asking(seconds: float) -> AsyncIterator[None]:
    """The time includes the wait for a connection, which asyncpg's own timeouts leave out."""
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
        raise KeysUnavailable("the database of keys cannot be asked now") from error
