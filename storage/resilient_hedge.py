"""A second request for what is slower than nearly all others were: the tail of the latency is cut off."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TypeVar

from storage.resilient import Transient

T = TypeVar("T")

# Reads that are remembered, and how many there must be before anything is said about the slowest.
_WINDOW = 256
_ENOUGH = 32
# The share of reads that may be asked for twice, so that a slow store is not made slower by us.
_SHARE = 0.1
_MOST_SAVED = 8.0
# Faster than this nobody gains from a second request.
_SHORTEST_DELAY = 0.005


class Hedge:
    """Reads that take longer than the 95th percentile of late are begun a second time."""

    def __init__(self, *, on_hedge: Callable[[], None] = lambda: None) -> None:
        self._times: deque[float] = deque(maxlen=_WINDOW)
        self._delay: float | None = None
        self._saved = 0.0
        self._on_hedge = on_hedge

    async def __call__(self, read: Callable[[], Coroutine[object, object, T]]) -> T:
        """The result of whichever read succeeds first. Both read the same bytes."""
        started = time.monotonic()
        self._saved = min(_MOST_SAVED, self._saved + _SHARE)
        result = await (self._either(read, self._delay) if self._delay is not None else read())
        self._note(time.monotonic() - started)
        return result

    @property
    def delay(self) -> float | None:
        """After how many seconds a second read begins; None while too little is known."""
        return self._delay

    def _note(self, seconds: float) -> None:
        self._times.append(seconds)
        if len(self._times) >= _ENOUGH and (self._delay is None or len(self._times) % 16 == 0):
            self._delay = max(_SHORTEST_DELAY, sorted(self._times)[int(len(self._times) * 0.95)])

    async def _either(self, read: Callable[[], Coroutine[object, object, T]], delay: float) -> T:
        reads = {asyncio.create_task(read())}
        try:
            done, _ = await asyncio.wait(reads, timeout=delay)
            if not done and self._saved >= 1.0:
                self._saved -= 1.0
                self._on_hedge()
                reads.add(asyncio.create_task(read()))
            return await _first_success(reads)
        finally:
            await _cancelled(reads)


async def _first_success(reads: set[asyncio.Task[T]]) -> T:
    """Raises at once what is no passing failure; a passing one only where no read is left."""
    waiting = set(reads)
    while True:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        # A success counts, also where another read failed in the same moment.
        for task in sorted(done, key=lambda each: each.exception() is not None):
            error = task.exception()
            if error is None:
                return task.result()
            if not waiting or not isinstance(error, Transient):
                raise error


async def _cancelled(reads: set[asyncio.Task[T]]) -> None:
    for task in reads:
        task.cancel()
    await asyncio.gather(*reads, return_exceptions=True)
