"""Both object stores and both indexes, for the contracts that they share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
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
from tests import database as databases


@pytest_asyncio.fixture(params=["memory", "local"])
async def objects(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    if request.param == "memory":
        yield MemoryObjects()
        return
    store = LocalObjects(tmp_path / "objects")
    yield store
    await store.aclose()


@pytest.fixture(scope="session")
def shared_database(postgres: str) -> Iterator[str]:
    """One database for all tests of the index: emptying it is much faster than making another."""
    with databases.template(postgres) as name:
        yield databases.named(postgres, name)


@asynccontextmanager
async def emptied(dsn: str) -> AsyncIterator[Pool]:
    async with asyncpg.create_pool(dsn, min_size=1, max_size=8) as opened:
        await opened.execute(
            """DELETE FROM uploads; DELETE FROM objects; DELETE FROM blocks; DELETE FROM unsettled_objects;
            UPDATE cache_epoch SET epoch = 0"""
        )
        yield opened


@pytest_asyncio.fixture
async def pool(shared_database: str) -> AsyncIterator[Pool]:
    async with emptied(shared_database) as opened:
        yield opened


@pytest_asyncio.fixture(params=["memory", "postgres"])
async def index(request: pytest.FixtureRequest) -> AsyncIterator[Index]:
    if request.param == "memory":
        yield MemoryIndex()
        return
    # Asked for by name, so that the memory tests start no server.
    async with emptied(request.getfixturevalue("shared_database")) as opened:
        yield PostgresIndex(opened)
