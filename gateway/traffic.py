"""How much is under way in this process, and whether more is let in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.refusals import Draining, TooManyRequests


class Traffic:
    """Counts requests and uploads against their limits, and waits for the last one at the end."""

    def __init__(self, max_requests: int, max_uploads: int) -> None:
        self._max_requests = max_requests
        self._max_uploads = max_uploads
        self._idle = asyncio.Event()
        self._idle.set()
        self.requests = 0
        self.uploads = 0
        self.draining = False

    @property
    def full(self) -> bool:
        """Whether a request would be refused now."""
        return self.draining or self.requests >= self._max_requests

    @contextmanager
    def request(self, *, exempt: bool = False) -> Iterator[None]:
        """A request is under way. Raises TooManyRequests, and Draining once the end has begun;
        `exempt` ones (health checks) are always let in."""
        if not exempt and self.draining:
            raise Draining
        if not exempt and self.requests >= self._max_requests:
            raise TooManyRequests(f"{self._max_requests} requests are under way, and no more are taken")
        self.requests += 1
        self._idle.clear()
        try:
            yield
        finally:
            self.requests -= 1
            if not self.requests:
                self._idle.set()

    @contextmanager
    def upload(self) -> Iterator[None]:
        """A request that writes. Raises TooManyRequests."""
        if self.uploads >= self._max_uploads:
            raise TooManyRequests(f"{self._max_uploads} uploads are under way, and no more are taken", 5)
        self.uploads += 1
        try:
            yield
        finally:
            self.uploads -= 1

    async def drain(self, seconds: float) -> bool:
        """Let nothing new in and wait for what is under way; False where time ran out first."""
        self.draining = True
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
