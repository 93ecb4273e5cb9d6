"""The schema of the database, as numbered SQL files, and the one function that applies them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from asyncpg_trek import Direction, execute, plan
from asyncpg_trek.asyncpg import AsyncpgBackend

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

VERSIONS = Path(__file__).parent / "versions"

_FILE_NAME = re.compile(r"\d{8}_(?P<before>\w+)_up_(?P<after>\w+)\.sql")
_ADVISORY_LOCK = 0x63696467617465  # "cidgate"
_POLL_SECONDS = 0.05


class SchemaTooNew(Exception):
    """The database was migrated by a newer version of the program than this one."""


async def migrate(database: Pool | Connection, versions: Path = VERSIONS) -> int:
    """Bring the schema to the newest revision; returns how many revisions were applied.

    Any number of processes may call it at once. Raises SchemaTooNew rather than going back.
    """
    if isinstance(database, asyncpg.Pool):
        async with database.acquire() as connection:
            return await _migrate(connection, versions)
    return await _migrate(database, versions)


def revisions(versions: Path = VERSIONS) -> list[str]:
    """The names of all revisions in their order; the files form one chain from `initial`."""
    matches = [match for path in versions.iterdir() if (match := _FILE_NAME.fullmatch(path.name))]
    following = {match["before"]: match["after"] for match in matches}
    chain: list[str] = []
    current = "initial"
    while current in following:
        current = following.pop(current)
        chain.append(current)
    if following or len(chain) != len(matches):
        raise ValueError(f"the files in {versions} do not form one chain from `initial`")
    return chain


async def _migrate(connection: Connection, versions: Path) -> int:
    known = revisions(versions)
    async with _alone(connection):
        await _refuse_newer(connection, known)
        backend = AsyncpgBackend(connection)
        steps = await plan(backend, versions, known[-1], Direction.up)
        # One transaction for all of them: either the whole way or none of it.
        await execute(backend, steps)
        return len(steps)


@asynccontextmanager
async def _alone(connection: Connection) -> AsyncIterator[None]:
    """Hold the advisory lock: the library alone would let two starters plan the same steps.

    A lock of the session, because the library's transactions are serializable: one taken inside
    would come with a snapshot from before the other starter's commit. Polled, because a
    statement_timeout of the connection would end a wait.
    """
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _ADVISORY_LOCK):  # noqa: ASYNC110
        await asyncio.sleep(_POLL_SECONDS)
    try:
        await connection.execute("SET statement_timeout = 0")
        yield
    finally:
        if not connection.is_closed():
            await connection.execute("RESET statement_timeout")
            await connection.execute("SELECT pg_advisory_unlock($1)", _ADVISORY_LOCK)


async def _refuse_newer(connection: Connection, known: list[str]) -> None:
    if await connection.fetchval("SELECT to_regclass('public.migrations')") is None:
        return
    current = await connection.fetchval("SELECT to_revision FROM public.migrations ORDER BY id DESC LIMIT 1")
    if current is not None and current not in known:
        raise SchemaTooNew(
            f"Downgrade refused: the database is at revision `{current}`, which this version does not know"
            f" (its newest is `{known[-1]}`). Run a newer cidgate, or restore a backup from before."
        )
