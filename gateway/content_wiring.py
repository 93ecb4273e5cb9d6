"""Content, its files, and the work that goes on beside requests, over the stores that the settings name."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass

from config.settings import Settings
from config.values import seconds_of_day
from gateway.background import FLUSH_SECONDS, counting, sweeping
from gateway.metrics import Metrics
from ipld.blocks import BlockReader
from storage import direct_uploads
from storage.content import Content
from storage.database import Pool
from storage.deletion import Deletion
from storage.direct_uploads import DirectUploads
from storage.jobs import CLEANUP, DELETE_OBJECT, Jobs, Work, working
from storage.places import OpenPlace
from storage.postgres_files import PostgresFiles
from storage.postgres_index import PostgresIndex
from storage.repeated import repeated
from storage.retention import clean_up
from storage.upload_log import PostgresUploadLog, prune

# How often a gateway looks whether the cleanup of the day is due.
DUE_SECONDS = 60.0
# How long finished jobs are remembered.
JOB_LOG_SECONDS = 30 * 86400.0
# About a day of pauses of at most an hour; after that the sweep alone goes on trying.
DELETE_TRIES = 32
CLEANUP_TRIES = 10

JobRunner = Callable[[], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class OpenContent:
    """`jobs` sweeps, and does the jobs of the queue, until its block is left: for processes that serve.
    `direct` is None where the store is no bucket."""

    content: Content
    files: PostgresFiles
    log: PostgresUploadLog
    jobs: JobRunner
    direct: DirectUploads | None


@asynccontextmanager
async def open_content(
    settings: Settings, pool: Pool, store: OpenPlace, blocks: BlockReader, metrics: Metrics
) -> AsyncGenerator[OpenContent, None]:
    """With the chores that every process does."""
    index, jobs, log = PostgresIndex(pool), Jobs(pool), PostgresUploadLog(pool)
    content = Content(store.objects, index, blocks, store.files, jobs.delete_object)
    direct = None if store.signer is None else DirectUploads(pool, store.objects, index, store.signer)
    files = PostgresFiles(pool)
    sweep = sweeping(content, metrics, settings.upload_timeout)
    opened = OpenContent(content, files, log, lambda: _doing_jobs(settings, pool, kinds, sweep), direct)
    kinds = {
        DELETE_OBJECT: Work(Deletion(store.objects, index).again, DELETE_TRIES, 5.0),
        CLEANUP: Work(_cleaning(settings, pool, opened, metrics), CLEANUP_TRIES, 60.0, at_once=1),
    }
    async with log.flushing(), repeated(counting(metrics), FLUSH_SECONDS):
        yield opened


@asynccontextmanager
async def _doing_jobs(
    settings: Settings, pool: Pool, kinds: dict[str, Work], sweep: Callable[[], Awaitable[None]]
) -> AsyncGenerator[None, None]:
    jobs, at = Jobs(pool), seconds_of_day(settings.cleanup_time)

    async def begin_if_due() -> None:
        await jobs.begin_cleanup(at)

    async with (
        working(pool, kinds),
        repeated(begin_if_due, DUE_SECONDS),
        repeated(sweep, settings.sweep_interval),
    ):
        yield


def _cleaning(
    settings: Settings, pool: Pool, opened: OpenContent, metrics: Metrics
) -> Callable[[str], Awaitable[None]]:
    jobs = Jobs(pool)

    async def clean(day: str) -> None:
        async with aclosing(clean_up(opened.content, opened.files)) as batches:
            async for cleaned in batches:
                metrics.expired.inc(cleaned.files)
                await jobs.note_cleaned(day, cleaned.files, cleaned.objects)
        await prune(pool, settings.upload_log_retention)
        await jobs.prune(JOB_LOG_SECONDS)
        await direct_uploads.prune(pool, JOB_LOG_SECONDS)
        await jobs.end_cleanup(day)

    return clean
