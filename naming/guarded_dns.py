"""A DNS server that may fail: tried again, given up in time, and left alone while it is down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from aiobreaker import CircuitBreaker, CircuitBreakerError
from tenacity import (
    AsyncRetrying,
    before_sleep_log,
    retry_if_exception_type,
    retry_if_not_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from ipld.errors import NameTimeout, NameUnavailable, StoreUnavailable
from naming.dns import TxtAnswer, TxtResolver

logger = logging.getLogger(__name__)

TRIES = 3
# In the time that a client waits for one name there is no room for longer waits.
LONGEST_WAIT = 1.0
# The part of the time that a lookup has; the rest is for asking whether the server is there at all.
LOOKUP_PART = 0.75
# Sockets open at once to one server, however many names clients think of.
MAX_LOOKUPS = 128
# Of these, for the names below one domain: its owner may have all of them hang.
MAX_LOOKUPS_OF_DOMAIN = 16


class _ServerDown(Exception):
    def __init__(self, failure: NameUnavailable) -> None:
        super().__init__(str(failure))
        self.failure = failure


@dataclass(slots=True)
class _Share:
    """Room for the lookups below one domain, as long as `users` want some."""

    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_LOOKUPS_OF_DOMAIN))
    users: int = 0


class GuardedDns:
    """A TxtResolver that answers or fails within `timeout` seconds.

    Whoever owns a domain can have every lookup of it fail, so a failure counts for the breaker only
    if the server does not answer for the root of the DNS either. After `fail_max` of those in a row
    it is left alone for `rest` seconds.
    """

    def __init__(
        self, inner: TxtResolver, what: str, *, timeout: float, fail_max: int = 5, rest: float = 60.0
    ) -> None:
        self._inner = inner
        self._what = what
        self._timeout = timeout
        self._rest = rest
        self._room = asyncio.Semaphore(MAX_LOOKUPS)
        self._shares: dict[str, _Share] = {}
        self._breaker = CircuitBreaker(
            fail_max=fail_max, timeout_duration=timedelta(seconds=rest), exclude=[NameUnavailable]
        )

    async def lookup(self, name: str) -> TxtAnswer:
        try:
            answer: TxtAnswer = await self._breaker.call_async(self._ask, name)
        except _ServerDown as down:
            raise down.failure from down
        except CircuitBreakerError as error:
            if isinstance(error.__cause__, _ServerDown):
                logger.warning("%s failed repeatedly and is left alone for %g s", self._what, self._rest)
                raise error.__cause__.failure from error
            raise StoreUnavailable("DNS does not answer at present", round(self._rest) or 1) from error
        return answer

    async def _ask(self, name: str) -> TxtAnswer:
        try:
            return await self._within(self._timeout * LOOKUP_PART, name)
        except NameUnavailable as failure:
            if await self._is_there():
                raise
            raise _ServerDown(failure) from failure

    async def _is_there(self) -> bool:
        try:
            async with asyncio.timeout(self._timeout * (1 - LOOKUP_PART)):
                await self._inner.lookup(".")
                return True
        except (NameUnavailable, TimeoutError):
            return False

    async def _within(self, seconds: float, name: str) -> TxtAnswer:
        try:
            # The share first: who waits for one takes no room from others.
            async with asyncio.timeout(seconds), self._share_of(name), self._room:
                return await self._try(name)
        except TimeoutError as error:
            raise NameTimeout(f"DNS did not answer for {name} in time") from error

    @asynccontextmanager
    async def _share_of(self, name: str) -> AsyncGenerator[None, None]:
        domain = ".".join(name.lower().rstrip(".").split(".")[-2:])
        share = self._shares.setdefault(domain, _Share())
        share.users += 1
        try:
            async with share.room:
                yield
        finally:
            share.users -= 1
            if not share.users:
                del self._shares[domain]

    async def _try(self, name: str) -> TxtAnswer:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(NameUnavailable) & retry_if_not_exception_type(NameTimeout),
            stop=stop_after_attempt(TRIES),
            wait=wait_random_exponential(0.1, max=LONGEST_WAIT),
            before_sleep=before_sleep_log(logger, logging.INFO),
            reraise=True,
        )
        answer: TxtAnswer = await retrying(self._inner.lookup, name)
        return answer
