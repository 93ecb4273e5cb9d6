"""Fixtures for every test; the database is started by the first test that asks for it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Generator, Iterator

import pytest
import pytest_asyncio

from tests import database as databases


def pytest_configure(config: pytest.Config) -> None:
    databases.make_directory()


def pytest_unconfigure(config: pytest.Config) -> None:
    # Only the controller of pytest-xdist, or the one process: the workers still share the server.
    if not hasattr(config, "workerinput"):
        databases.remove_directory()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The DSN of a server for all tests: create databases there, and drop them."""
    with databases.server() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def migrated_template(postgres: str) -> Iterator[str]:
    with databases.template(postgres) as name:
        yield name


@pytest_asyncio.fixture
async def database(postgres: str, migrated_template: str) -> AsyncIterator[str]:
    """The DSN of a fresh database with the newest schema."""
    async with databases.fresh_database(postgres, migrated_template) as dsn:
        yield dsn


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CIDGATE_FAIL_ON_SKIP is set (CI), a skipped test is a failed one."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CIDGATE_FAIL_ON_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, and nothing may be: {report.longrepr}"
    return report
