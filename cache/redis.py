"""Hot blocks in Redis, shared by all gateways; a Redis that is down or slow is a miss."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from datetime import timedelta
from typing import TypeVar

from aiobreaker import CircuitBreaker, CircuitBreakerError
from aiobreaker.state import CircuitBreakerState
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ipld.cid import Cid
from ipld.errors import BlockCorrupt, UnsupportedHash
from ipld.hashes import verify

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Writes under way at once; more are dropped, because a cache must not queue up memory.
MAX_WRITES = 64


class RedisBlocks:
    """Blocks under `cidgate:<epoch>:<multihash>`, kept for `ttl` seconds.

    `timeout` (seconds) is kept by the connections themselves: a command that was cancelled half
    way would leave its reply to the next user of the connection (CVE-2023-28858), so a connection
    that timed out is closed. After `fail_max` failures in a row Redis is left alone for `rest`
    seconds, so that a dead Redis costs a request nothing.
    """

    def __init__(self, url: str, *, timeout: float, ttl: int, fail_max: int = 5, rest: float = 60.0) -> None:
        self._redis: Redis = Redis.from_url(
            url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=Retry(NoBackoff(), 0)
        )
        self._ttl = ttl
        self._breaker = CircuitBreaker(fail_max=fail_max, timeout_duration=timedelta(seconds=rest))
        self._writes: set[asyncio.Task[object]] = set()
        self.epoch = 0

    async def get(self, cid: Cid) -> bytes | None:
        """The block, checked against its CID; None where Redis has none or does not answer."""
        data = await self._ask(self._get(self._name(cid)))
        if data is None:
            return None
        try:
            verify(cid, data)
        except (BlockCorrupt, UnsupportedHash):
            logger.exception("damaged: block %s in Redis", cid)
            await self._ask(self._delete(self._name(cid)))
            return None
        return data

    def put(self, cid: Cid, data: bytes) -> None:
        """Keep the block, in the background."""
        if len(self._writes) < MAX_WRITES:
            task = asyncio.create_task(self._ask(self._set(self._name(cid), data)))
            self._writes.add(task)
            task.add_done_callback(self._writes.discard)

    async def is_up(self) -> bool:
        """Whether Redis answers now."""
        return await self._ask(self._ping(), guarded=False) is not None

    async def aclose(self) -> None:
        """Let writes under way finish, then close every connection."""
        await asyncio.gather(*self._writes)
        await self._redis.aclose()

    def _name(self, cid: Cid) -> bytes:
        return b"cidgate:%d:%b" % (self.epoch, cid.multihash)

    async def _ask(self, question: Coroutine[object, object, T], *, guarded: bool = True) -> T | None:
        if guarded and self._breaker.current_state is CircuitBreakerState.HALF_OPEN:
            # One request finds out whether Redis is back; the others do not wait for that.
            question.close()
            return None
        try:
            if guarded:
                answer: T = await self._breaker.call_async(lambda: question)
                return answer
            return await question
        except asyncio.CancelledError:
            if self._breaker.current_state is CircuitBreakerState.HALF_OPEN:
                self._breaker.open()  # It did not find out: another one will.
            raise
        except CircuitBreakerError as error:
            question.close()
            if error.__cause__ is not None:
                logger.warning("Redis failed repeatedly and is left alone for a while: %s", error.__cause__)
        except (RedisError, OSError) as error:
            logger.warning("Redis did not answer: %s", error)
        return None

    async def _get(self, name: bytes) -> bytes | None:
        data = await self._redis.get(name)
        return data if isinstance(data, bytes) else None

    async def _set(self, name: bytes, data: bytes) -> None:
        await self._redis.set(name, data, ex=self._ttl)

    async def _delete(self, name: bytes) -> None:
        await self._redis.delete(name)

    async def _ping(self) -> bool:
        return bool(await self._redis.ping())
