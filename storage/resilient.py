"""Retries, a circuit breaker and timeouts around every request to a remote store, in one wrapper."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from aiobreaker import CircuitBreaker, CircuitBreakerError
from aiobreaker.state import CircuitBreakerState
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from ipld.errors import StoreUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

# A store that asks for a longer pause is not waited for: the client is told to come back then.
LONGEST_PAUSE = 20.0


class Transient(StoreUnavailable):
    """A failure that may pass: the only kind that is tried again and that opens the breaker.

    `pause` is how many seconds the store asked to be left alone, 0 where it did not.
    """

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message, max(10, int(pause)))
        self.pause = pause


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a remote is put up with; times in seconds.

    `fail_max` failures in a row open the breaker for `rest`. A request is tried `tries` times, with
    waits that grow from `wait` to `longest_wait`.
    """

    fail_max: int = 5
    rest: float = 60.0
    tries: int = 3
    wait: float = 2.0
    longest_wait: float = 10.0


class Resilience:
    """Guards the requests to one remote. `on_retry` is told of each try after the first, `on_open` 1 when
    the breaker opens and 0 when it closes again."""

    def __init__(
        self,
        name: str,
        patience: Patience | None = None,
        *,
        on_retry: Callable[[], None] = lambda: None,
        on_open: Callable[[float], None] = lambda _: None,
    ) -> None:
        self.name = name
        self._patience = patience or Patience()
        self._on_retry = on_retry
        self._on_open = on_open
        self._breaker = CircuitBreaker(
            fail_max=self._patience.fail_max,
            timeout_duration=timedelta(seconds=self._patience.rest),
            # What is the caller's fault, or simply not there, says that the remote works.
            exclude=[lambda error: not isinstance(error, Transient)],
        )
        self._opened = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether the remote works, as far as is known."""
        return self._breaker.current_state is CircuitBreakerState.CLOSED

    @property
    def state(self) -> str:
        """`closed`, `open` (requests fail at once) or `half-open` (one request finds out)."""
        state = self._breaker.current_state
        if state is CircuitBreakerState.OPEN:
            return "open" if self._remaining() > 0 else "half-open"
        return "closed" if state is CircuitBreakerState.CLOSED else "half-open"

    async def call(
        self, what: str, attempt: Callable[[], Awaitable[T]], timeout: float, *, tries: int | None = None
    ) -> T:
        """The result of the attempt, which is made anew as long as it fails with Transient.

        `timeout` is for each attempt. Raises StoreUnavailable at once while the breaker is open.
        """
        try:
            return await self._once(what, attempt, timeout)
        except Transient as error:
            # Set up only now: it takes six times as long as the breaker, and nearly nothing fails.
            return await self._again(what, attempt, timeout, error, tries or self._patience.tries)

    async def _again(
        self, what: str, attempt: Callable[[], Awaitable[T]], timeout: float, first: Transient, tries: int
    ) -> T:
        """The tries after the first one, whose failure counts as theirs."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(tries),
            wait=self._wait,
            retry=retry_if_exception(_is_worth_a_retry),
            before_sleep=lambda state: self._log_retry(what, state),
            reraise=True,
        )
        failures = [first]

        async def next_try() -> T:
            if failures:
                raise failures.pop()
            return await self._once(what, attempt, timeout)

        # No `async for attempt in retrying`: inside it, a cancellation counts as an outcome.
        return await retrying(next_try)

    async def _once(self, what: str, attempt: Callable[[], Awaitable[T]], timeout: float) -> T:
        if self._breaker.current_state is CircuitBreakerState.HALF_OPEN:
            # One request finds out whether the remote is back; the others do not wait for that.
            raise self._left_alone()
        try:
            was_closed = self.is_closed
            try:
                result: T = await self._breaker.call_async(lambda: _timed(what, attempt, timeout))
                return result
            finally:
                if not was_closed and self.is_closed:
                    self._on_open(0.0)
                    logger.warning("%s answers again", self.name)
        except asyncio.CancelledError:
            if self._breaker.current_state is CircuitBreakerState.HALF_OPEN:
                self._breaker.close()  # It did not find out: the next one will.
            raise
        except CircuitBreakerError as error:
            if error.__cause__ is None:
                raise self._left_alone() from None
            self._opened = time.monotonic()
            self._on_open(1.0)
            logger.warning(
                "%s failed %d times in a row and is left alone for %.0f s: %s",
                self.name,
                self._patience.fail_max,
                self._patience.rest,
                error.__cause__,
            )
            raise StoreUnavailable(str(error.__cause__), self._retry_after()) from error.__cause__

    def _wait(self, state: RetryCallState) -> float:
        patience = self._patience
        backoff = wait_exponential_jitter(
            multiplier=patience.wait, max=patience.longest_wait, jitter=patience.wait / 2
        )
        error = state.outcome.exception() if state.outcome is not None else None
        return max(backoff(state), error.pause if isinstance(error, Transient) else 0.0)

    def _log_retry(self, what: str, state: RetryCallState) -> None:
        self._on_retry()
        error = state.outcome.exception() if state.outcome is not None else None
        pause = state.next_action.sleep if state.next_action is not None else 0.0
        logger.warning(
            "%s: try %d to %s failed, again in %.1f s: %s",
            self.name,
            state.attempt_number,
            what,
            pause,
            error,
        )

    def _remaining(self) -> float:
        return self._opened + self._patience.rest - time.monotonic()

    def _retry_after(self) -> int:
        return max(1, int(self._remaining()) + 1)

    def _left_alone(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self.name} failed several times in a row and is left alone for a while", self._retry_after()
        )


def _is_worth_a_retry(error: BaseException) -> bool:
    return isinstance(error, Transient) and error.pause <= LONGEST_PAUSE


async def _timed(what: str, attempt: Callable[[], Awaitable[T]], timeout: float) -> T:
    try:
        async with asyncio.timeout(timeout):
            return await attempt()
    except TimeoutError as error:
        raise Transient(f"no answer within {timeout:.0f} s to a request to {what}") from error
