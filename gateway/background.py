"""Work that is done again and again while the gateway runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from gateway.metrics import Metrics
from ipld.errors import StoreUnavailable
from naming.publisher import Publisher
from storage.content import Content

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0
# How often records of ours are looked over; the shortest lifetime of one is six times that.
RENEW_SECONDS = 600.0


@asynccontextmanager
async def repeated(work: Callable[[], Awaitable[None]], seconds: float) -> AsyncGenerator[None, None]:
    """Do the work now and then every so many seconds, until the block is left.

    A store that cannot be asked is asked again the next time.
    """

    async def repeat() -> None:
        while True:
            try:
                await work()
            except StoreUnavailable as error:
                logger.warning("put off for %.0f seconds: %s", seconds, error)
            await asyncio.sleep(seconds)

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def sweeping(content: Content, metrics: Metrics, longest_upload: float) -> Callable[[], Awaitable[None]]:
    """Removes what uploads that never finished have left."""

    async def sweep() -> None:
        # Twice the longest upload: none that may still end well is ever swept.
        metrics.swept.inc(await content.sweep(2 * longest_upload))

    return sweep


def renewing(publisher: Publisher) -> Callable[[], Awaitable[None]]:
    """Keeps IPNS names of ours alive, and drops records that were merely found and are not asked for."""

    async def renew() -> None:
        await publisher.renew()
        await publisher.names.prune()

    return renew


def counting(metrics: Metrics) -> Callable[[], Awaitable[None]]:
    """Makes what this process counted visible to whichever worker is asked for the figures."""

    async def flush() -> None:
        metrics.flush()

    return flush
