"""The one place that names concrete stores, and owns their lifetimes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg

from auth.cached import cached_keys
from auth.postgres import PostgresKeys
from cache.blocks import CachedBlocks
from cache.memory import MemoryCache
from cache.redis import RedisBlocks
from config.settings import Settings
from gateway.background import FLUSH_SECONDS, counting, repeated, sweeping
from gateway.context import Gateway, Limits, Probe
from gateway.health import program_version
from gateway.metrics import Metrics
from gateway.names import NoNames
from gateway.representation import Representation
from gateway.streaming import SendLimits
from gateway.traffic import Traffic
from ipld.paths import ResolveLimits
from ipld.unixfs.profiles import PROFILES
from storage.content import Content
from storage.database import Pool, open_database
from storage.epochs import Epochs
from storage.local import LocalObjects
from storage.packed import PackedBlocks
from storage.postgres_index import PostgresIndex
from storage.reindex import Reindex

logger = logging.getLogger(__name__)

# The answers that are kept ready take this part of the memory for caches, blocks the rest.
ANSWERS_PART = 0.5


class NotYet(Exception):
    """A setting asks for something that this version does not do."""


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncGenerator[Gateway, None]:
    """Everything that a gateway needs, open until the block is left; closed in reverse order."""
    if settings.uses_s3:
        raise NotYet("FILEBASE_BUCKET_NAME is set, but this version keeps content in DATA_DIR only; unset it")
    metrics = Metrics(program_version())
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings))
        objects = LocalObjects(settings.data_dir / "objects")
        stack.push_async_callback(objects.aclose)
        index = PostgresIndex(pool)
        packed = PackedBlocks(objects, index, on_damage=metrics.damaged.inc)
        redis = _redis(settings)
        if redis is not None:
            stack.push_async_callback(redis.aclose)
        memory = int(settings.cache_memory_bytes * (1 - ANSWERS_PART))
        blocks = CachedBlocks(packed, MemoryCache(memory), redis)
        answers: MemoryCache[Representation] = MemoryCache(int(settings.cache_memory_bytes * ANSWERS_PART))

        def forget(epoch: int) -> None:
            answers.clear()
            blocks.forget(epoch)
            packed.forget()

        epochs = Epochs(pool, forget)
        await stack.enter_async_context(epochs.following())
        content = Content(objects, index, blocks)
        sweep = sweeping(content, metrics, settings.upload_timeout)
        await stack.enter_async_context(repeated(sweep, settings.sweep_interval))
        await stack.enter_async_context(repeated(counting(metrics), FLUSH_SECONDS))
        keys = await stack.enter_async_context(cached_keys(PostgresKeys(pool)))
        yield Gateway(
            blocks=blocks,
            names=NoNames(),
            content=content,
            keys=keys,
            answers=answers,
            metrics=metrics,
            traffic=Traffic(settings.max_concurrent_requests, settings.max_concurrent_uploads),
            forget=epochs.refresh,
            probes=_probes(pool, settings.data_dir / "objects", redis),
            optional=frozenset({"redis"}),
            limits=limits_of(settings),
            profile=PROFILES[settings.unixfs_profile],
            public_url=settings.public_url,
        )


def limits_of(settings: Settings) -> Limits:
    """The bounds that the settings name."""
    return Limits(
        path_bytes=settings.max_path_bytes,
        requests=settings.max_concurrent_requests,
        uploads=settings.max_concurrent_uploads,
        upload_bytes=settings.max_upload_bytes,
        upload_seconds=settings.upload_timeout,
        upload_idle_seconds=settings.upload_idle_timeout,
        directory_entries=settings.max_directory_entries,
        resolve=ResolveLimits(segments=settings.max_path_segments),
        send=SendLimits(retrieval_timeout=settings.retrieval_timeout),
    )


def open_pool(settings: Settings) -> AbstractAsyncContextManager[Pool]:
    """The database alone, for commands that need no more."""
    return open_database(
        settings.database_url.get_secret_value() if settings.database_url else None,
        settings.data_dir / "postgres",
        pool_size=settings.database_pool_size,
        timeout=settings.database_timeout,
    )


@asynccontextmanager
async def open_reindex(settings: Settings) -> AsyncGenerator[Reindex, None]:
    """What rebuilds the index, over the stores that the settings name."""
    async with open_pool(settings) as pool:
        yield Reindex(LocalObjects(settings.data_dir / "objects"), PostgresIndex(pool))


def _redis(settings: Settings) -> RedisBlocks | None:
    if settings.redis_url is None:
        return None
    return RedisBlocks(
        settings.redis_url.get_secret_value(),
        timeout=settings.redis_timeout,
        ttl=int(settings.cache_redis_ttl),
        fail_max=settings.circuit_breaker_fail_max,
        rest=settings.circuit_breaker_reset_timeout,
    )


def _probes(pool: Pool, folder: Path, redis: RedisBlocks | None) -> dict[str, Probe]:
    async def database() -> str | None:
        try:
            await pool.fetchval("SELECT 1")
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            return f"no connection ({type(error).__name__})"
        return None

    async def storage() -> str | None:
        return None if await asyncio.to_thread(folder.is_dir) else f"the folder {folder} is not there"

    async def shared_cache() -> str | None:
        return None if redis is not None and await redis.is_up() else "no answer; reads go on without it"

    probes: dict[str, Probe] = {"database": database, "storage": storage}
    return probes if redis is None else probes | {"redis": shared_cache}
