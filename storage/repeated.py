"""Work that is done now and then beside all else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from ipld.ending import end_loop
from ipld.errors import StoreUnavailable

logger = logging.getLogger(__name__)


@asynccontextmanager
async def repeated(work: Callable[[], Awaitable[None]], seconds: float) -> AsyncGenerator[None, None]:
    """Do the work now and then every so many seconds, until the block is left.

    No failure is the last time: what follows it is done all the same, and it stands in the log.
    """

    async def repeat() -> None:
        while True:
            try:
                await work()
            except StoreUnavailable as error:
                logger.warning("put off for %.0f seconds: %s", seconds, error)
            except Exception:
                logger.exception("failed, and is tried again in %.0f seconds", seconds)
            await asyncio.sleep(seconds)

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        await end_loop(task)
