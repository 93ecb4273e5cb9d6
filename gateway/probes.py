"""How each dependency is asked whether it works."""

from __future__ import annotations

from cache.redis import RedisBlocks
from gateway.context import Probe
from storage.database import Pool
from storage.transactions import DATABASE_ERRORS


def probes(pool: Pool, storage: Probe, redis: RedisBlocks | None) -> dict[str, Probe]:
    """By the name that `/readyz` shows."""

    async def database() -> str | None:
        try:
            await pool.fetchval("SELECT 1")
        except DATABASE_ERRORS as error:
            return f"no connection ({type(error).__name__})"
        return None

    async def shared_cache() -> str | None:
        return None if redis is not None and await redis.is_up() else "no answer; reads go on without it"

    needed: dict[str, Probe] = {"database": database, "storage": storage}
    return needed if redis is None else needed | {"redis": shared_cache}
