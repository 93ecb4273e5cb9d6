"""Both stores of keys, for the contract that they share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from auth.keys import ApiKeys
from auth.memory import MemoryKeys
from auth.postgres import PostgresKeys
from tests.database import fresh_database


@pytest_asyncio.fixture(params=["memory", "postgres"])
async def keys(request: pytest.FixtureRequest) -> AsyncIterator[ApiKeys]:
    if request.param == "memory":
        yield MemoryKeys()
        return
    # Asked for by name, so that the memory tests start no server.
    server, template = request.getfixturevalue("postgres"), request.getfixturevalue("migrated_template")
    async with (
        fresh_database(server, template) as dsn,
        asyncpg.create_pool(dsn, min_size=1, max_size=4) as pool,
    ):
        yield PostgresKeys(pool)
