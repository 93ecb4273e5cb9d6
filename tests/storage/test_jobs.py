"""Jobs over a real Postgres: each is done, by one worker at a time, through crashes and lost connections."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from ipld.errors import StoreUnavailable
from storage.jobs import CLEANUP, DELETE_OBJECT, SETTINGS, Jobs, Work, queries, working
from storage.transactions import Pool
from tests.storage.conftest import emptied

ROOT = Path(__file__).parents[2]
MIDNIGHT, TOMORROW = 0.0, -86_400.0


@pytest_asyncio.fixture
async def pool(shared_database: str) -> AsyncIterator[Pool]:
    async with emptied(shared_database) as opened:
        await opened.execute("DELETE FROM cidgate_pgqueuer; DELETE FROM cidgate_pgqueuer_log")
        await opened.execute("DELETE FROM cleanups")
        yield opened


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "pgqueuer")


def works(do: object, **more: object) -> dict[str, Work]:
    values: dict[str, object] = {"tries": 5, "first_pause": 0.02, **more}
    return {DELETE_OBJECT: Work(do, **values)}  # type: ignore[arg-type]


async def waiting(pool: Pool) -> int:
    count: int = await pool.fetchval("SELECT count(*) FROM cidgate_pgqueuer")
    return count


async def none_waiting(pool: Pool, seconds: float = 60) -> bool:
    async with asyncio.timeout(seconds):
        while await waiting(pool):
            await asyncio.sleep(0.02)
    return True


async def test_the_revision_is_what_the_library_installs(pool: Pool) -> None:
    """Fails when a newer PGQueuer wants another schema: what it lists goes into the next revision."""
    async with pool.acquire() as connection:
        plan = await queries(connection).plan_upgrade()
        assert plan.statements == ()
        assert plan.notes == ()


def test_nothing_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library would take such names; a shell has variables like these for its own ends."""
    assert SETTINGS.model_fields_set >= {*SETTINGS.__class__.model_fields}


async def test_each_job_is_done_once_by_whoever_is_free(pool: Pool) -> None:
    done: Counter[str] = Counter()

    async def do(key: str) -> None:
        await asyncio.sleep(0.005)
        done[key] += 1

    async with working(pool, works(do)), working(pool, works(do)):
        for number in range(30):
            await Jobs(pool).delete_object(f"k{number}")
        assert await none_waiting(pool)
    assert done == {f"k{number}": 1 for number in range(30)}


async def test_a_key_has_one_job(pool: Pool) -> None:
    for _ in range(3):
        await Jobs(pool).delete_object("k")
    assert await waiting(pool) == 1


async def test_what_fails_is_tried_again(pool: Pool) -> None:
    tried: list[float] = []

    async def do(_: str) -> None:
        tried.append(asyncio.get_running_loop().time())
        if len(tried) < 4:
            raise StoreUnavailable("away")

    await Jobs(pool).delete_object("k")
    async with working(pool, works(do, first_pause=0.1), poll=0.02):
        assert await none_waiting(pool)
    assert len(tried) == 4
    pauses = [after - before for before, after in pairwise(tried)]
    assert pauses[0] >= 0.08
    assert pauses[2] >= 0.32


async def test_what_always_fails_is_given_up(pool: Pool) -> None:
    tried = 0

    async def do(_: str) -> None:
        nonlocal tried
        tried += 1
        raise ValueError("a bug")

    await Jobs(pool).delete_object("k")
    async with working(pool, works(do, tries=3), poll=0.02):
        assert await none_waiting(pool)
    assert tried == 3
    assert await pool.fetchval("SELECT count(*) FROM cidgate_pgqueuer_log WHERE status = 'exception'") == 1


def test_pauses_grow_up_to_a_limit() -> None:
    async def do(_: str) -> None: ...

    work = Work(do, 30, 5, 3600)
    assert 4 <= work.pause(0) <= 6
    assert 32 <= work.pause(3) <= 48
    assert work.pause(29) <= 3600 * 1.2
    assert work.pause(10_000) <= 3600 * 1.2


async def test_a_stop_gives_work_back(pool: Pool) -> None:
    begun, broken_off = asyncio.Event(), asyncio.Event()

    async def slow(_: str) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            broken_off.set()

    done: list[str] = []

    async def do(key: str) -> None:
        done.append(key)

    await Jobs(pool).delete_object("k")
    async with working(pool, works(slow)):
        await begun.wait()
        before = asyncio.get_running_loop().time()
    assert broken_off.is_set()
    assert asyncio.get_running_loop().time() - before < 2
    async with working(pool, works(do)):
        assert await none_waiting(pool)
    assert done == ["k"]


async def test_a_lost_connection_is_no_end(pool: Pool) -> None:
    """More often than the pool has connections: none of them is lost to it."""
    done: list[str] = []

    async def do(key: str) -> None:
        done.append(key)

    async with working(pool, works(do), poll=0.02):
        for round_ in range(12):
            # Connections of ours were ended as well, and the pool may not have noticed yet.
            for attempt in range(pool.get_max_size() + 1):
                with suppress(StoreUnavailable):
                    await Jobs(pool).delete_object(f"k{round_}")
                    break
                assert attempt < pool.get_max_size()
            assert await none_waiting(pool)
            async with pool.acquire() as connection:
                await connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
    assert sorted(done) == sorted(f"k{round_}" for round_ in range(12))
    taken = [await asyncio.wait_for(pool.acquire(), 2) for _ in range(pool.get_max_size())]
    for connection in taken:
        await pool.release(connection)


CRASHING = """
import asyncio, sys, asyncpg
from storage.jobs import DELETE_OBJECT, Work, working

async def do(key):
    print(key, flush=True)
    await asyncio.sleep(60)

async def main():
    async with asyncpg.create_pool(sys.argv[1], min_size=1, max_size=4) as pool:
        async with working(pool, {DELETE_OBJECT: Work(do, 5, 0.1)}, lease=1.0):
            await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_the_work_of_a_killed_process_goes_to_another(pool: Pool, shared_database: str) -> None:
    done: list[str] = []

    async def do(key: str) -> None:
        done.append(key)

    await Jobs(pool).delete_object("k")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        CRASHING,
        shared_database,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 20) == b"k\n"
        async with working(pool, works(do), lease=1.0, poll=0.1):
            await asyncio.sleep(1.5)
            assert not done, "it lives, and keeps its lease"
            process.send_signal(signal.SIGKILL)
            assert await none_waiting(pool)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    assert done == ["k"]


class TestTheDailyCleanup:
    async def test_one_for_each_day_whoever_asks(self, pool: Pool) -> None:
        jobs = [Jobs(pool) for _ in range(6)]
        begun = await asyncio.gather(*(each.begin_cleanup(MIDNIGHT) for each in jobs for _ in range(3)))
        assert sum(begun) == 1
        assert await waiting(pool) == 1
        begun = await asyncio.gather(*(each.begin_cleanup(TOMORROW) for each in jobs))
        assert sum(begun) == 1
        assert await waiting(pool) == 2

    async def test_what_was_done_is_not_done_again(self, pool: Pool) -> None:
        days: list[str] = []

        async def do(day: str) -> None:
            days.append(day)
            await Jobs(pool).note_cleaned(day, 3, 2)
            await Jobs(pool).note_cleaned(day, 1, 0)
            await Jobs(pool).end_cleanup(day)

        kinds = {CLEANUP: Work(do, 5, 0.02, at_once=1)}
        async with working(pool, kinds), working(pool, kinds):
            for _ in range(3):
                await Jobs(pool).begin_cleanup(MIDNIGHT)
                assert await none_waiting(pool)
        today = await pool.fetchval("SELECT (now() AT TIME ZONE 'UTC')::date")
        assert days == [today.isoformat()]
        row = await pool.fetchrow("SELECT day, files, objects, ended_at >= begun_at FROM cleanups")
        assert tuple(row) == (today, 4, 2, True)

    async def test_before_the_hour_it_is_yesterdays(self, pool: Pool) -> None:
        """What was missed, as when no gateway ran at that hour, is made up for."""
        seconds = await pool.fetchval("SELECT extract(epoch FROM (now() AT TIME ZONE 'UTC')::time)::float8")
        await Jobs(pool).begin_cleanup(seconds + 60)
        day = await pool.fetchval("SELECT (now() AT TIME ZONE 'UTC')::date - day FROM cleanups")
        assert day == 1


async def test_old_jobs_are_forgotten(pool: Pool) -> None:
    async def do(_: str) -> None: ...

    await Jobs(pool).delete_object("k")
    async with working(pool, works(do)):
        assert await none_waiting(pool)
    await Jobs(pool).prune(3600)
    assert await pool.fetchval("SELECT count(*) FROM cidgate_pgqueuer_log") > 0
    await Jobs(pool).prune(0)
    assert await pool.fetchval("SELECT count(*) FROM cidgate_pgqueuer_log") == 0


async def test_a_database_that_is_away_is_said(shared_database: str) -> None:
    pool = await asyncpg.create_pool(shared_database, min_size=0, max_size=2)
    await pool.close()
    with pytest.raises(StoreUnavailable):
        await Jobs(pool).delete_object("k")
    with pytest.raises(StoreUnavailable):
        await Jobs(pool).begin_cleanup(MIDNIGHT)
