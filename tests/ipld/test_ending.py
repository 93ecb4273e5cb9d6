from __future__ import annotations

import asyncio
import time

import pytest

from ipld import ending
from ipld.ending import end, end_loop


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "AGAIN_SECONDS", 0.05)


async def deaf(times: int) -> None:
    """Loses so many cancellations."""
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if not times:
                raise
            times -= 1


@pytest.mark.parametrize("times", [0, 1, 3])
async def test_a_cancellation_may_be_lost(times: int) -> None:
    task = asyncio.create_task(deaf(times))
    await asyncio.sleep(0)
    began = time.monotonic()
    async with asyncio.timeout(60):
        await end_loop(task)
    assert task.cancelled()
    assert time.monotonic() - began >= 0.05 * times


async def test_several_of_any_kind() -> None:
    async def fails() -> None:
        raise ValueError

    done, failed = asyncio.create_task(asyncio.sleep(0)), asyncio.create_task(fails())
    await asyncio.sleep(0.01)
    lost, future = asyncio.create_task(deaf(1)), asyncio.get_running_loop().create_future()
    await asyncio.sleep(0)
    await end(done, failed, lost, future)
    assert lost.cancelled()
    assert future.cancelled()
    await end()


async def test_what_a_loop_failed_with_is_said() -> None:
    async def fails() -> None:
        raise ValueError("a bug")

    task = asyncio.create_task(fails())
    await asyncio.sleep(0.01)
    with pytest.raises(ValueError, match="a bug"):
        await end_loop(task)


async def test_whoever_waits_can_be_cancelled() -> None:
    task = asyncio.create_task(deaf(3))
    ender = asyncio.create_task(end_loop(task))
    await asyncio.sleep(0.01)
    ender.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ender
    await end(task)
