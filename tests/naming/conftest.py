"""Both kinds of stores of names, for the contracts that they share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
import pytest_asyncio

from naming.memory_named_keys import MemoryNamedKeys
from naming.memory_records import MemoryRecords
from naming.named_keys import NamedKeys
from naming.postgres_named_keys import PostgresNamedKeys
from naming.postgres_records import Pool, PostgresRecords
from naming.records import RecordStore
from tests.database import fresh_database


@asynccontextmanager
async def _pool(request: pytest.FixtureRequest) -> AsyncIterator[Pool]:
    # Asked for by name, so that the memory tests start no server.
    server, template = request.getfixturevalue("postgres"), request.getfixturevalue("migrated_template")
    async with (
        fresh_database(server, template) as dsn,
        asyncpg.create_pool(dsn, min_size=1, max_size=4) as pool,
    ):
        yield pool


@pytest_asyncio.fixture
async def names_pool(request: pytest.FixtureRequest) -> AsyncIterator[Pool]:
    async with _pool(request) as pool:
        yield pool


@pytest_asyncio.fixture(params=["memory", "postgres"])
async def records(request: pytest.FixtureRequest) -> AsyncIterator[RecordStore]:
    if request.param == "memory":
        yield MemoryRecords()
        return
    async with _pool(request) as pool:
        yield PostgresRecords(pool)


@pytest_asyncio.fixture(params=["memory", "postgres"])
async def named_keys(request: pytest.FixtureRequest) -> AsyncIterator[NamedKeys]:
    if request.param == "memory":
        yield MemoryNamedKeys()
        return
    async with _pool(request) as pool:
        yield PostgresNamedKeys(pool)
