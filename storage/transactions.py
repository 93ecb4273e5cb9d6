"""Work in Postgres: in one transaction, again after a deadlock, and with errors that this program knows."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias, TypeVar

import asyncpg
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random

from ipld.errors import StoreFull, StoreUnavailable

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
T = TypeVar("T")

# What a database that is away, or goes away, makes asyncpg raise; the last one where it went at a bad moment.
DATABASE_ERRORS = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


@asynccontextmanager
async def unavailable_is_said() -> AsyncGenerator[None, None]:
    """Turn what asyncpg and the network raise into StoreUnavailable."""
    try:
        yield
    except TimeoutError as error:
        raise StoreUnavailable("the index database did not answer in time") from error
    except asyncpg.DiskFullError as error:
        raise StoreFull("the disk of the index database is full") from error
    except (
        OSError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        asyncpg.PostgresConnectionError,
    ) as error:
        raise StoreUnavailable(f"the index database cannot be reached ({type(error).__name__})") from error
    except (
        asyncpg.OperatorInterventionError,
        asyncpg.InsufficientResourcesError,
        asyncpg.TransactionRollbackError,
        asyncpg.ReadOnlySQLTransactionError,
    ) as error:
        raise StoreUnavailable(f"the index database refuses work ({type(error).__name__})") from error


async def in_transaction(pool: Pool, work: Callable[[Connection], Awaitable[T]]) -> T:
    """The work in one transaction; again where Postgres ended it to break a deadlock.

    Objects are locked in the order of their ids wherever that is known, but an upload of several
    objects learns of each only when it comes to it. Raises StoreUnavailable.
    """
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(asyncpg.DeadlockDetectedError),
        stop=stop_after_attempt(4),
        wait=wait_random(0, 0.1),
        reraise=True,
    )

    async def once() -> T:
        async with pool.acquire() as connection, connection.transaction():
            return await work(connection)

    async with unavailable_is_said():
        return await retrying(once)
