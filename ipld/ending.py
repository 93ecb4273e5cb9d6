"""Ending tasks, also those that lose a cancellation.

`asyncio.wait_for` of Python 3.11 returns what it waited for where that came at the same moment as the
cancellation, which is gone then (CPython issue 81839); libraries use it too. A loop would go on for ever, and
whoever waits for its end with it.
"""

from __future__ import annotations

import asyncio

# A task that has not ended by then is cancelled once more.
AGAIN_SECONDS = 1.0


async def end(*tasks: asyncio.Future[object] | asyncio.Task[object]) -> None:
    """Cancel the tasks and wait until all have ended; what they raised is theirs."""
    waiting = {task for task in tasks if not task.done()}
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=AGAIN_SECONDS)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # Seen: asyncio would write it down.


async def end_loop(task: asyncio.Task[None]) -> None:
    """End a task that would go on for ever. Raises what it failed with before."""
    await end(task)
    if not task.cancelled():
        task.result()
