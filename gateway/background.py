"""Work that is done again and again while the gateway runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gateway.metrics import Metrics
from naming.publisher import Publisher
from storage.content import Content

FLUSH_SECONDS = 1.0
# How often records of ours are looked over; the shortest lifetime of one is six times that.
RENEW_SECONDS = 600.0


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
