"""Both object stores and both indexes, for the contracts that they share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from storage.index import Index
from storage.local import LocalObjects
from storage.memory_index import MemoryIndex
from storage.memory_objects import MemoryObjects
from storage.objects import ObjectStore
from storage.postgres_index import Pool, PostgresIndex


@pytest_asyncio.fixture(params=["memory", "local"])
async def objects(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    if request.param == "memory":
        yield MemoryObjects()
        return
    store = LocalObjects(tmp_path / "objects")
    yield store
    await store.aclose()


@pytest_asyncio.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    async with asyncpg.create_pool(database, min_size=1, max_size=8) as opened:
        yield opened


@pytest_asyncio.fixture(params=["memory", "postgres"])
async def index(request: pytest.FixtureRequest) -> AsyncIterator[Index]:
    if request.param == "memory":
        yield MemoryIndex()
        return
    # Asked for by name, so that the memory tests start no server.
    from tests.database import fresh_database

    server, template = request.getfixturevalue("postgres"), request.getfixturevalue("migrated_template")
    async with (
        fresh_database(server, template) as dsn,
        asyncpg.create_pool(dsn, min_size=1, max_size=8) as opened,
    ):
        yield PostgresIndex(opened)
