"""Work that is done now and then: no failure of one time is the last one."""

from __future__ import annotations

import asyncio

import pytest

from ipld.errors import StoreUnavailable
from storage.repeated import repeated


@pytest.mark.parametrize(
    ("failure", "level", "said"),
    [
        (StoreUnavailable("the database is down"), "WARNING", "put off for 0 seconds: the database is down"),
        (KeyError("a mistake of ours"), "ERROR", "tried again in 0 seconds"),
    ],
)
async def test_work_goes_on_after_a_failure(
    failure: Exception, level: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    failing = [failure]
    done = asyncio.Event()

    async def work() -> None:
        if failing:
            raise failing.pop()
        done.set()

    async with repeated(work, 0.01):
        await asyncio.wait_for(done.wait(), 60)
    (record,) = (record for record in caplog.records if record.name == "storage.repeated")
    assert (record.levelname, said in caplog.text) == (level, True)
    # Where it failed is said of what nobody expected.
    assert ("a mistake of ours" in caplog.text) == (level == "ERROR")
    assert (record.exc_info is not None) == (level == "ERROR")


async def test_the_work_ends_with_the_block() -> None:
    begun, times = asyncio.Event(), 0

    async def work() -> None:
        nonlocal times
        times += 1
        begun.set()
        await asyncio.sleep(3600)

    async with repeated(work, 0.0):
        await asyncio.wait_for(begun.wait(), 60)
    assert times == 1
