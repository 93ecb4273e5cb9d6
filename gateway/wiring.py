"""The one place that names concrete stores, and owns their lifetimes."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from auth.cached import cached_keys
from auth.postgres import PostgresKeys
from cache.blocks import CachedBlocks
from cache.memory import MemoryCache
from cache.redis import RedisBlocks
from config.settings import Settings
from gateway.answers import Answers
from gateway.background import FLUSH_SECONDS, counting, repeated, sweeping
from gateway.context import Gateway, Limits
from gateway.health import program_version
from gateway.metrics import Metrics
from gateway.names import NoNames
from gateway.probes import probes
from gateway.sample import sample_cid
from gateway.streaming import SendLimits
from gateway.traffic import Traffic
from gateway.trustless import Trustless
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


@dataclass(frozen=True, slots=True)
class _Caches:
    """All that remembers content, to be forgotten together."""

    packed: PackedBlocks
    blocks: CachedBlocks
    answers: Answers

    def forget(self, epoch: int) -> None:
        self.answers.clear()
        self.blocks.forget(epoch)
        self.packed.forget()


def _caches(settings: Settings, packed: PackedBlocks, redis: RedisBlocks | None) -> _Caches:
    for_answers = int(settings.cache_memory_bytes * ANSWERS_PART)
    for_blocks: MemoryCache[bytes] = MemoryCache(settings.cache_memory_bytes - for_answers)
    return _Caches(packed, CachedBlocks(packed, for_blocks, redis), Answers(for_answers))


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncGenerator[Gateway, None]:
    """Everything that a gateway needs, open until the block is left; closed in reverse order."""
    if settings.uses_s3:
        raise NotYet("FILEBASE_BUCKET_NAME is set, but this version keeps content in DATA_DIR only; unset it")
    _name_what_is_not_used(settings)
    metrics = Metrics(program_version())
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings))
        objects = LocalObjects(settings.data_dir / "objects")
        stack.push_async_callback(objects.aclose)
        redis = _redis(settings)
        if redis is not None:
            stack.push_async_callback(redis.aclose)
        index = PostgresIndex(pool)
        packed = PackedBlocks(objects, index, on_damage=metrics.damaged.inc)
        caches = _caches(settings, packed, redis)
        epochs = Epochs(pool, caches.forget)
        await stack.enter_async_context(epochs.following())
        content = Content(objects, index, caches.blocks)
        sweep = sweeping(content, metrics, settings.upload_timeout)
        await stack.enter_async_context(repeated(sweep, settings.sweep_interval))
        await stack.enter_async_context(repeated(counting(metrics), FLUSH_SECONDS))
        keys = await stack.enter_async_context(cached_keys(PostgresKeys(pool)))
        yield Gateway(
            blocks=caches.blocks,
            names=NoNames(),
            content=content,
            keys=keys,
            answers=caches.answers,
            metrics=metrics,
            traffic=Traffic(settings.max_concurrent_requests, settings.max_concurrent_uploads),
            forget=epochs.refresh,
            probes=probes(pool, settings.data_dir / "objects", redis),
            optional=frozenset({"redis"}),
            limits=limits_of(settings),
            profile=PROFILES[settings.unixfs_profile],
            public_url=settings.public_url,
            trustless=_trustless(settings),
            sample=sample_cid(PROFILES[settings.unixfs_profile]),
        )


def _trustless(settings: Settings) -> Trustless:
    listed = {
        host.lower(): not gateway.deserialized_responses
        for host, gateway in settings.public_gateways.items()
        if gateway is not None
    }
    return Trustless(not settings.deserialized_responses, listed)


def _name_what_is_not_used(settings: Settings) -> None:
    for name in ("public_gateways", "ipfs_ns_map", "upstream_gateways"):
        if getattr(settings, name):
            logger.warning("%s is set, and this version does not use it yet", name.upper())


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
        car_blocks=settings.max_car_blocks,
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
