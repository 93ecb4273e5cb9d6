"""Steps that must not be torn by a client that leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


async def uninterrupted(work: Coroutine[object, object, T]) -> T:
    """The result of the work. A cancellation, or several, is raised once the work has ended.

    `asyncio.shield` would let the caller go on at once, and clean up under a running step.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # Seen: the cancellation is what the caller hears of.
        raise cancelled
    return task.result()
