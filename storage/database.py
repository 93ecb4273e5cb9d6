"""The database of this gateway: one that is given, or the embedded one; its schema; its pool."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import asyncpg

from migrations import migrate
from storage.embedded_postgres import DatabaseStartError, embedded_postgres
from storage.transactions import DATABASE_ERRORS

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


@asynccontextmanager
async def open_database(
    url: str | None, directory: Path, *, pool_size: int, timeout: float
) -> AsyncGenerator[Pool, None]:
    """A pool of at most `pool_size` connections to a migrated database.

    `url` None means the embedded server, with its data in `directory`. `timeout` bounds each
    statement, in seconds. Raises DatabaseStartError, which says what is wrong and what mends it.
    """
    async with AsyncExitStack() as stack:
        dsn = url if url is not None else await stack.enter_async_context(embedded_postgres(directory))
        await _migrate(dsn, timeout)
        pool = asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=pool_size,
            command_timeout=timeout,
            timeout=timeout,
            server_settings={
                "application_name": "cidgate",
                # A gateway that hangs must not keep its row locks for ever.
                "idle_in_transaction_session_timeout": "60s",
            },
        )
        yield await stack.enter_async_context(pool)


async def _migrate(dsn: str, timeout: float) -> None:
    try:
        # A connection of its own, without a time limit on statements: a change of a large table
        # takes as long as it takes.
        connection = await asyncpg.connect(dsn, timeout=timeout)
    except (*DATABASE_ERRORS, ValueError) as error:
        raise DatabaseStartError(
            f"The database does not accept connections: {error}.",
            "Check DATABASE_URL, and that Postgres runs and lets this user in.",
        ) from error
    try:
        await migrate(connection)
    finally:
        await connection.close()
