"""Hearing at once, on every gateway, that something was taken away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

import asyncpg
from tenacity import AsyncRetrying, before_sleep_log, retry_if_exception_type, wait_random_exponential

from ipld.ending import end_loop
from storage.postgres_placing import EPOCH_CHANNEL
from storage.transactions import DATABASE_ERRORS, unavailable_is_said

logger = logging.getLogger(__name__)

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

_EPOCH = "SELECT epoch FROM cache_epoch"
# How often the epoch is asked for although nothing was heard: a connection can be dead in silence.
_POLL_SECONDS = 5.0


class Epochs:
    """Tells `on_change` the epoch whenever it rises: what was cached before is void."""

    def __init__(self, pool: Pool, on_change: Callable[[int], None]) -> None:
        self._pool = pool
        self._on_change = on_change
        self._epoch = -1

    async def refresh(self) -> None:
        """Ask for the epoch now; void every cache in any case."""
        async with unavailable_is_said():
            self._change(int(await self._pool.fetchval(_EPOCH)))

    def _change(self, epoch: int) -> None:
        self._epoch = epoch
        self._on_change(epoch)

    @asynccontextmanager
    async def following(self) -> AsyncGenerator[None, None]:
        """Listen until the block is left, through every loss of the connection."""
        await self.refresh()
        follower = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            await end_loop(follower)

    async def _follow(self) -> None:
        # Whatever it was: a gateway that stops listening would give out what was deleted, for ever.
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Exception),
            wait=wait_random_exponential(0.2, max=5),
            before_sleep=before_sleep_log(logger, logging.WARNING),
        )
        async for attempt in retrying:
            with attempt:
                await self._listen()

    async def _listen(self) -> None:
        async with unavailable_is_said(), self._pool.acquire() as connection:
            await connection.add_listener(EPOCH_CHANNEL, self._heard)
            try:
                while True:
                    # What was said while nobody listened is seen here.
                    epoch = int(await connection.fetchval(_EPOCH))
                    if epoch != self._epoch:
                        self._change(epoch)
                    await asyncio.sleep(_POLL_SECONDS)
            finally:
                with suppress(*DATABASE_ERRORS):
                    await connection.remove_listener(EPOCH_CHANNEL, self._heard)

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        # One that was taken long ago may come late; the same one voids what was read before its commit.
        epoch = int(str(payload))
        if epoch >= self._epoch:
            self._change(epoch)
