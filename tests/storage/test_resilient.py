"""Retries, the circuit breaker and the second read."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from ipld.errors import StoreUnavailable
from storage.objects import ObjectNotFound
from storage.resilient import LONGEST_PAUSE, Patience, Resilience, Transient
from storage.resilient_hedge import Hedge, _first_success
from storage.s3_errors import StoreRefused, error_of_body

QUICK = Patience(fail_max=5, rest=1.0, wait=0.01, longest_wait=0.03)


class Remote:
    """Fails with what it was given, one after the other, then answers."""

    def __init__(self, *failures: Exception | float) -> None:
        self.failures = list(failures)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            await asyncio.sleep(failure)
        return "answer"


async def ask(guard: Resilience, remote: Remote, timeout: float = 1.0) -> str:
    return await guard.call("ask", remote, timeout)


async def test_a_passing_failure_is_tried_again_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    retries: list[int] = []
    guard = Resilience("the remote", QUICK, on_retry=lambda: retries.append(1))
    remote = Remote(Transient("broken"), Transient("still broken"))
    assert await ask(guard, remote) == "answer"
    assert (remote.calls, len(retries)) == (3, 2)
    logged = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "try 1 to ask failed" in logged[0]
    assert "still broken" in logged[1]


async def test_three_tries_and_no_more() -> None:
    remote = Remote(*(Transient(f"broken {n}") for n in range(9)))
    with pytest.raises(Transient, match="broken 2"):
        await ask(Resilience("the remote", QUICK), remote)
    assert remote.calls == 3


@pytest.mark.parametrize("error", [ObjectNotFound("key"), StoreRefused("403"), ValueError("bug")])
async def test_what_is_no_passing_failure_is_said_at_once_and_never_opens(error: Exception) -> None:
    guard = Resilience("the remote", QUICK)
    for _ in range(12):
        remote = Remote(error)
        with pytest.raises(type(error)):
            await ask(guard, remote)
        assert remote.calls == 1
    assert guard.state == "closed"


async def test_a_hanging_remote_is_left_after_the_timeout() -> None:
    remote = Remote(30.0, 30.0)
    started = time.monotonic()
    assert await ask(Resilience("the remote", QUICK), remote, timeout=0.05) == "answer"
    assert remote.calls == 3
    assert time.monotonic() - started < 15


async def test_the_breaker_opens_after_five_failures_and_closes_after_a_success() -> None:
    states: list[float] = []
    guard = Resilience("the remote", QUICK, on_open=states.append)
    remote = Remote(*(Transient("down") for _ in range(5)))
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="down"):
            await ask(guard, remote)
    assert (remote.calls, guard.state) == (5, "open"), "the second call was cut short by the breaker"
    with pytest.raises(StoreUnavailable, match="left alone") as refused:
        await ask(guard, remote)
    assert remote.calls == 5, "nothing was asked"
    assert refused.value.retry_after == 1
    await asyncio.sleep(1.05)
    assert guard.state == "half-open"
    assert await ask(guard, remote) == "answer"
    assert (guard.state, states) == ("closed", [1.0, 0.0])


async def test_one_request_finds_out_whether_it_is_back() -> None:
    guard = Resilience("the remote", Patience(fail_max=1, rest=0.1, tries=1))
    with pytest.raises(StoreUnavailable):
        await ask(guard, Remote(Transient("down")))
    await asyncio.sleep(0.15)
    remote = Remote(0.05)
    answers = await asyncio.gather(*(ask(guard, remote) for _ in range(10)), return_exceptions=True)
    assert remote.calls == 1
    assert sorted(str(type(each).__name__) for each in answers) == ["StoreUnavailable"] * 9 + ["str"]
    assert guard.state == "closed"


async def test_a_failed_probe_opens_it_again() -> None:
    guard = Resilience("the remote", Patience(fail_max=1, rest=0.6, tries=1))
    remote = Remote(Transient("down"), Transient("down"))
    with pytest.raises(StoreUnavailable):
        await ask(guard, remote)
    await asyncio.sleep(0.65)
    with pytest.raises(StoreUnavailable):
        await ask(guard, remote)
    assert guard.state == "open"


async def test_a_cancelled_probe_does_not_close_the_door_for_ever() -> None:
    guard = Resilience("the remote", Patience(fail_max=1, rest=0.05, tries=1))
    with pytest.raises(StoreUnavailable):
        await ask(guard, Remote(Transient("down")))
    await asyncio.sleep(0.1)
    probe = asyncio.create_task(ask(guard, Remote(10.0), timeout=20))
    await asyncio.sleep(0.01)
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    assert await ask(guard, Remote()) == "answer"


async def test_a_pause_that_the_remote_asks_for_is_kept() -> None:
    remote = Remote(Transient("slow down", pause=0.3))
    started = time.monotonic()
    assert await ask(Resilience("the remote", QUICK), remote) == "answer"
    assert time.monotonic() - started >= 0.3


async def test_a_long_pause_is_passed_on_to_the_client() -> None:
    remote = Remote(Transient("slow down", pause=LONGEST_PAUSE + 40))
    with pytest.raises(Transient) as refused:
        await ask(Resilience("the remote", QUICK), remote)
    assert (remote.calls, refused.value.retry_after) == (1, 60)


@pytest.mark.parametrize(("text", "seconds"), [("7", 7), ("9" * 400, 86_400), ("-1", 0), ("Mon", 0), ("", 0)])
def test_the_pause_that_is_asked_for_has_an_end(text: str, seconds: int) -> None:
    error = error_of_body("key", 503, {"Retry-After": text}, b"")
    assert isinstance(error, Transient)
    assert (error.pause, error.retry_after) == (seconds, max(10, seconds))


def test_the_waits_grow_from_two_to_ten_seconds_with_jitter() -> None:
    import tenacity

    guard = Resilience("the remote")
    for attempt, (least, most) in {1: (2, 3), 2: (4, 5), 3: (8, 9), 4: (10, 10)}.items():
        state = tenacity.RetryCallState(None, None, (), {})  # type: ignore[arg-type]
        state.attempt_number = attempt
        waits = [guard._wait(state) for _ in range(50)]
        assert all(least <= wait <= most for wait in waits)
        assert attempt == 4 or len(set(waits)) > 1


def late(hedge: Hedge) -> float:
    """Seconds after which a second read has begun, also where the machine was slow while it learned."""
    assert hedge.delay is not None
    return 4 * hedge.delay


class TestHedge:
    @staticmethod
    async def warmed(seconds: float = 0.002, **options: object) -> Hedge:
        hedge = Hedge(**options)  # type: ignore[arg-type]
        for _ in range(100):
            await hedge(lambda: asyncio.sleep(seconds, "warm"))
        return hedge

    async def test_a_slow_read_is_begun_a_second_time(self) -> None:
        hedged: list[int] = []
        hedge = await self.warmed(on_hedge=lambda: hedged.append(1))
        hedged.clear()
        remote, started = Remote(60.0), time.monotonic()
        assert await hedge(remote) == "answer"
        assert (remote.calls, hedged) == (2, [1])
        assert time.monotonic() - started < 30

    async def test_nothing_is_known_at_first(self) -> None:
        remote = Remote(0.1)
        hedge = Hedge()
        assert hedge.delay is None
        assert await hedge(remote) == "answer"
        assert remote.calls == 1

    async def test_a_slow_store_is_not_asked_for_everything_twice(self) -> None:
        hedge = await self.warmed()
        delay = late(hedge)
        asked = 0

        async def slow() -> None:
            nonlocal asked
            asked += 1
            await asyncio.sleep(delay)

        for _ in range(60):
            await hedge(slow)
        # What was saved up, a tenth of the reads, and no more.
        assert 60 < asked <= 60 + 8 + 6 + 1

    async def test_what_is_not_there_is_said_at_once(self) -> None:
        hedge = await self.warmed()
        with pytest.raises(ObjectNotFound):
            await hedge(Remote(ObjectNotFound("key")))

    async def test_a_failure_waits_for_the_other_read(self) -> None:
        hedge = await self.warmed()
        delay = late(hedge)

        class FirstFailsLate(Remote):
            async def __call__(self) -> str:
                self.calls += 1
                if self.calls == 1:
                    await asyncio.sleep(delay)
                    raise Transient("late")
                await asyncio.sleep(2 * delay)
                return "second"

        assert await hedge(FirstFailsLate()) == "second"
        with pytest.raises(Transient):
            await hedge(Remote(Transient("both")))

    async def test_a_success_counts_beside_a_failure_of_the_same_moment(self) -> None:
        """Whatever the order in which the event loop names them."""
        for number in range(30):
            together = asyncio.Event()

            async def read(error: Exception | None, together: asyncio.Event = together) -> str:
                await together.wait()
                if error is not None:
                    raise error
                return "answer"

            failing = [Transient("late"), ObjectNotFound("key")]
            reads = {asyncio.create_task(read(error)) for error in (*failing[: number % 3], None)}
            asyncio.get_running_loop().call_later(0.001, together.set)
            assert await _first_success(reads) == "answer"
            await asyncio.gather(*reads, return_exceptions=True)

    async def test_whoever_leaves_leaves_nothing_behind(self) -> None:
        hedge = await self.warmed()
        before = asyncio.all_tasks()
        read = asyncio.create_task(hedge(Remote(60.0, 60.0)))
        await asyncio.sleep(0.05)
        read.cancel()
        await asyncio.gather(read, return_exceptions=True)
        assert asyncio.all_tasks() <= before
