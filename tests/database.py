"""A real Postgres for tests: one embedded server per run, one fresh database per test."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from migrations import migrate
from storage.embedded_postgres import embedded_postgres

DIRECTORY = "CIDGATE_TEST_DIRECTORY"


def make_directory() -> None:
    """Once per run: the workers of pytest-xdist inherit the variable and share one server."""
    if DIRECTORY not in os.environ:
        os.environ[DIRECTORY] = tempfile.mkdtemp(prefix="cidgate-tests-")


def remove_directory() -> None:
    shutil.rmtree(os.environ.pop(DIRECTORY), ignore_errors=True)


@contextmanager
def server() -> Iterator[str]:
    """The DSN of TEST_DATABASE_URL or of an embedded server, with a migrated template in it.

    In a thread with a loop of its own, because each test has another loop than the session.
    """
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    started: asyncio.Future[str]
    loop = asyncio.new_event_loop()
    started, stop = loop.create_future(), asyncio.Event()

    async def serve() -> None:
        try:
            async with embedded_postgres(Path(os.environ[DIRECTORY], "postgres")) as dsn:
                started.set_result(dsn)
                await stop.wait()
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(_result(started), loop).result(timeout=60)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


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


async def _result(future: asyncio.Future[str]) -> str:
    return await future
