"""A whole gateway in memory, with the fast lane, on a port of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.gateway.gateways import Running, running


@pytest_asyncio.fixture
async def gate() -> AsyncIterator[Running]:
    async with running() as started:
        yield started
