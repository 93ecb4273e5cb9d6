"""Every object store and both indexes, for the contracts that they share."""

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
from tests.storage import s3_servers

VERSITY = pytest.param("versitygw", marks=pytest.mark.needs_versitygw)


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    with s3_servers.moto_server() as url:
        yield url


@pytest.fixture(scope="session")
def versity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    binary = s3_servers.versitygw()
    if binary is None:
        pytest.skip("no versitygw on the PATH, nor in VERSITYGW")
    with s3_servers.versity_server(binary, tmp_path_factory.mktemp("versitygw")) as url:
        yield url


@pytest.fixture(params=["moto", VERSITY])
def s3_url(request: pytest.FixtureRequest) -> str:
    """A real S3 server; asked for by name, so that none is started for nothing."""
    return str(request.getfixturevalue("moto" if request.param == "moto" else "versity"))


@pytest.fixture(scope="session")
def one_s3_url(request: pytest.FixtureRequest) -> str:
    """The stricter server where it is found: for long tables of which one server tells enough."""
    return str(request.getfixturevalue("versity" if s3_servers.versitygw() else "moto"))


@asynccontextmanager
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    """The store that the parameter of a fixture names."""
    if request.param == "memory":
        yield MemoryObjects()
    elif request.param == "local":
        store = LocalObjects(tmp_path / "objects")
        yield store
        await store.aclose()
    else:
        url = request.getfixturevalue("versity" if request.param == "versitygw" else "moto")
        async with s3_servers.bucket_at(url) as bucket:
            yield bucket


@pytest_asyncio.fixture(params=["memory", "local"])
async def objects(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    async with opened(request, tmp_path) as store:
        yield store


@pytest_asyncio.fixture(params=["memory", "local", "moto", VERSITY])
async def every_objects(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    """The real S3 servers too, which take longer."""
    async with opened(request, tmp_path) as store:
        yield store


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
