"""Jobs that outlive a process, in Postgres, over PGQueuer: made here, and done by whichever gateway is free.

A job is done at least once: it is leased to a worker that shows every few seconds that it lives, and given
to another one when it does not. Work that failed is tried again after growing pauses.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import cast

import asyncpg
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.qb import (
    QueryBuilderEnvironment,
    QueryQueueBuilder,
    QuerySchedulerBuilder,
)
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.models import Job
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import Channel

from ipld.ending import end, end_loop
from storage.transactions import Connection, Pool, in_transaction, unavailable_is_said

logger = logging.getLogger(__name__)

DELETE_OBJECT = "delete-object"
CLEANUP = "cleanup"

# A worker that was silent for as long has lost its jobs.
LEASE_SECONDS = 30.0
# New jobs are heard of at once. What is to be tried again, or was lost by another worker, is looked for this
# often; and so is the database, after the connection was lost.
POLL_SECONDS = 5.0
# How long running work may take to notice that the gateway stops.
STOP_SECONDS = 10.0
BATCH = 10

# All of them, because the library would take what is not given from variables such as CHANNEL or FUNCTION.
SETTINGS = DBSettings(
    prefix="cidgate_",
    db_schema=None,
    channel=Channel("cidgate_ch_pgqueuer"),
    function="cidgate_fn_pgqueuer_changed",
    statistics_table="cidgate_pgqueuer_statistics",
    queue_status_type="cidgate_pgqueuer_status",
    queue_table="cidgate_pgqueuer",
    queue_table_log="cidgate_pgqueuer_log",
    trigger="cidgate_tg_pgqueuer_changed",
    schedules_table="cidgate_pgqueuer_schedules",
    durability=Durability.durable,
    widen_id=True,
)

# The day of the last time that it was due, by the clock of the database; whoever notes it first begins.
_CLAIM = """
INSERT INTO cleanups (day)
SELECT due.day FROM (SELECT ((now() AT TIME ZONE 'UTC') - make_interval(secs => $1))::date AS day) AS due
WHERE NOT EXISTS (SELECT FROM cleanups WHERE cleanups.day = due.day)
ON CONFLICT DO NOTHING RETURNING day
"""
_PRUNE = """
DELETE FROM cidgate_pgqueuer_log WHERE created < now() - make_interval(secs => $1)
"""


@dataclass(frozen=True, slots=True)
class Work:
    """What a kind of job does with its payload, and how patiently; times in seconds. `at_once` bounds it
    over all workers, 0 does not."""

    do: Callable[[str], Awaitable[None]]
    tries: int
    first_pause: float
    longest_pause: float = 3600.0
    at_once: int = 0

    def pause(self, attempts: int) -> float:
        """After so many attempts; a bit at random, so that what failed together does not come together."""
        pause = min(self.first_pause * 2.0 ** min(attempts, 30), self.longest_pause)
        return pause * random.uniform(0.8, 1.2)  # noqa: S311 - nothing to guess


def queries(connection: Connection) -> Queries:
    """The library's statements, on one connection and in its transaction."""
    return Queries(
        # What a pool gives does all that a connection does.
        AsyncpgDriver(cast("asyncpg.Connection[asyncpg.Record]", connection)),
        QueryBuilderEnvironment(SETTINGS),
        QueryQueueBuilder(SETTINGS),
        QuerySchedulerBuilder(SETTINGS),
    )


class Jobs:
    """Makes jobs. Every method raises StoreUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def delete_object(self, key: str) -> None:
        """Once for each key, however often it is asked for."""
        async with unavailable_is_said(), self._pool.acquire() as connection:
            await queries(connection).enqueue(
                DELETE_OBJECT, key.encode(), dedupe_key=f"{DELETE_OBJECT} {key}", on_conflict="skip"
            )

    async def begin_cleanup(self, at: float) -> bool:
        """Make the job of the day, if it is due and nobody did; `at` is in seconds after midnight, UTC.

        Not a schedule of the library's: that one counts with the clocks of the gateways, and begins twice
        where they differ.
        """

        async def claim(connection: Connection) -> bool:
            day: date | None = await connection.fetchval(_CLAIM, at)
            if day is not None:
                await queries(connection).enqueue(CLEANUP, day.isoformat().encode())
            return day is not None

        return await in_transaction(self._pool, claim)

    async def note_cleaned(self, day: str, files: int, objects: int) -> None:
        """That so many more went on the day."""
        async with unavailable_is_said():
            await self._pool.execute(
                "UPDATE cleanups SET files = files + $2, objects = objects + $3 WHERE day = $1",
                date.fromisoformat(day),
                files,
                objects,
            )

    async def end_cleanup(self, day: str) -> None:
        """Nothing was left on the day."""
        async with unavailable_is_said():
            await self._pool.execute(
                "UPDATE cleanups SET ended_at = now() WHERE day = $1", date.fromisoformat(day)
            )

    async def prune(self, keep_seconds: float) -> None:
        """Forget jobs that were done before that."""
        async with unavailable_is_said():
            await self._pool.execute(_PRUNE, keep_seconds)


@asynccontextmanager
async def working(
    pool: Pool, kinds: Mapping[str, Work], *, lease: float = LEASE_SECONDS, poll: float = POLL_SECONDS
) -> AsyncGenerator[None, None]:
    """Do jobs of these kinds until the block is left. Work that is under way then is given back."""
    stop = asyncio.Event()
    task = asyncio.create_task(_work_for_ever(pool, kinds, stop, lease=lease, poll=poll))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait([task], timeout=STOP_SECONDS)
        await end_loop(task)


async def _work_for_ever(
    pool: Pool, kinds: Mapping[str, Work], stop: asyncio.Event, *, lease: float, poll: float
) -> None:
    while not stop.is_set():
        try:
            await _work(pool, kinds, stop, lease=lease, poll=poll)
        except Exception as error:
            # Whatever it was: jobs that nobody does are noticed by nobody.
            logger.warning("no jobs are done for %.0f seconds: %s: %s", poll, type(error).__name__, error)
            with suppress(TimeoutError):
                async with asyncio.timeout(poll):
                    await stop.wait()


async def _work(
    pool: Pool, kinds: Mapping[str, Work], stop: asyncio.Event, *, lease: float, poll: float
) -> None:
    """Until the stop, or until the connection is lost. On one connection of the pool, which also listens:
    given back in any case, which the library's own driver for pools does not do for one that was lost."""
    async with pool.acquire() as connection:
        manager = QueueManager(queries(connection), Channel(SETTINGS.channel))
        for name, work in kinds.items():
            manager.entrypoint(name, concurrency_limit=work.at_once, accepts_context=False)(
                partial(_attempt, work=work, stop=stop)
            )
        running = asyncio.create_task(
            manager.run(
                batch_size=BATCH,
                dequeue_timeout=timedelta(seconds=poll),
                shutdown_on_listener_failure=True,
                heartbeat_timeout=timedelta(seconds=lease),
                # Nobody reads its statistics.
                log_aggregation_interval=timedelta(0),
            )
        )
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            manager.shutdown.set()
            await running
        finally:
            await end(running, stopping)
            # Not given back as it is: statements of the library may have been cancelled half way.
            connection.terminate()


async def _attempt(job: Job, work: Work, stop: asyncio.Event) -> None:
    """One try. Raises RetryRequested, which gives the job back to the queue."""
    task = asyncio.ensure_future(work.do((job.payload or b"").decode()))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await end(task)
            raise RetryRequested(delay=timedelta(0), reason="the gateway stops")
        task.result()
    except RetryRequested:
        raise
    except Exception as error:
        if job.attempts + 1 >= work.tries:
            raise
        pause = work.pause(job.attempts)
        logger.warning("%s will be tried again in %.0f seconds: %s", job.entrypoint, pause, error)
        raise RetryRequested(delay=timedelta(seconds=pause), reason=str(error)) from error
    finally:
        await end(task, stopping)
