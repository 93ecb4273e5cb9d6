"""A real Postgres for tests: one embedded server per run, one fresh database per test."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from migrations import migrate
from tests.postgres_server import postgres_server

DIRECTORY = "CIDGATE_TEST_DIRECTORY"


def make_directory() -> None:
    """Once per run: the workers of pytest-xdist inherit the variable and share one server."""
    if DIRECTORY not in os.environ:
        os.environ[DIRECTORY] = tempfile.mkdtemp(prefix="cidgate-tests-")


def remove_directory() -> None:
    shutil.rmtree(os.environ.pop(DIRECTORY), ignore_errors=True)


@contextmanager
def server() -> Iterator[str]:
    """The DSN of TEST_DATABASE_URL or of an embedded server, which the workers of pytest-xdist share."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    with postgres_server(Path(os.environ[DIRECTORY], "postgres")) as dsn:
        yield dsn


@contextmanager
def template(dsn: str) -> Iterator[str]:
    """The name of a database with the newest schema and nothing in it."""
    name = f"template_{uuid4().hex}"
    _run(_make_template(dsn, name))
    yield name
    _run(_execute(dsn, f"DROP DATABASE {name}"))


@asynccontextmanager
async def fresh_database(dsn: str, template_name: str) -> AsyncIterator[str]:
    """The DSN of a database that is made for one test and dropped after it."""
    name = f"test_{uuid4().hex}"
    await _execute(dsn, f"CREATE DATABASE {name} TEMPLATE {template_name}")
    try:
        yield named(dsn, name)
    finally:
        await _execute(dsn, f"DROP DATABASE {name} WITH (FORCE)")


def named(dsn: str, name: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


async def confused(*_: object, **__: object) -> None:
    """In place of a pool's `_acquire`: what asyncpg says of a connection whose server went away at a bad
    moment, seen under load."""
    raise asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")


def _run(work: Coroutine[None, None, None]) -> None:
    """In a thread: a fixture may be asked for while the loop of a test runs."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


async def _make_template(dsn: str, name: str) -> None:
    await _execute(dsn, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    connection = await asyncpg.connect(named(dsn, name))
    try:
        await migrate(connection)
    finally:
        await connection.close()


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
