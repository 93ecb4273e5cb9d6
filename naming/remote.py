"""Another server, asked over HTTP: tried again, given up in time, and left alone while it is down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import aiohttp
from aiobreaker import CircuitBreaker, CircuitBreakerError
from aiobreaker.state import CircuitBreakerState
from tenacity import (
    AsyncRetrying,
    before_sleep_log,
    retry_if_exception_type,
    retry_if_not_exception_type,
    stop_after_attempt,
)
from tenacity.retry import retry_base
from tenacity.wait import wait_exponential
from yarl import URL

from ipld.ipns_record import MAX_BYTES, MEDIA_TYPE, IpnsRecord
from naming.records import RecordsUnavailable

logger = logging.getLogger(__name__)

# Gateways send clients to a subdomain; more steps than this are a loop.
MAX_REDIRECTS = 3
# The server as a whole is busy or away, whatever it is asked (RFC 9110 section 15).
_AWAY = frozenset({408, 425, 429, 503})
# What may be so of one name only: Kubo says 500 of what it cannot resolve, and gateways 502 or 504.
_FAULTS = frozenset({500, 502, 504})
# The most of an error's text that is shown.
_SHOWN_BYTES = 300


@dataclass(frozen=True, slots=True)
class RemoteTerms:
    """`timeout` is that of one try; waits between tries double from `first_wait` to `longest_wait`, and
    are short, because a client waits. After `fail_max` times in a row that it was away the server is left
    alone for `rest`. Times in seconds."""

    timeout: float = 10.0
    tries: int = 3
    first_wait: float = 0.5
    longest_wait: float = 2.0
    fail_max: int = 5
    rest: float = 60.0


@dataclass(frozen=True, slots=True)
class RemoteAnswer:
    """An answer that counts. `body` is cut after what a record may have, and one byte."""

    status: int
    media_type: str
    body: bytes

    def record(self) -> IpnsRecord | None:
        """The record in it; None where it has none. Raises InvalidRecord."""
        # Delegated routing spec: any other type means that there is no record, and so does 404.
        if self.status != 200 or self.media_type != MEDIA_TYPE:
            return None
        return IpnsRecord.decode(self.body)

    @property
    def text(self) -> str:
        """What it says, fit to be shown."""
        decoded = self.body[:_SHOWN_BYTES].decode("utf-8", "replace")
        return " ".join("".join(c if c.isprintable() else " " for c in decoded).split())


class _Failed(Exception):
    """One try; another may do better."""


class _Fault(_Failed):
    """The server is there and failed with this question. Whoever likes can make names that lead to this, so
    it counts for no breaker."""


class Remote:
    """One server. `ask` raises RecordsUnavailable, which names it."""

    def __init__(self, session: aiohttp.ClientSession, url: str, terms: RemoteTerms) -> None:
        # What is asked may hold a password; what is shown does not.
        self._base = url.rstrip("/")
        self.url = str(URL(self._base).with_user(None)).rstrip("/")
        self._session = session
        self._terms = terms
        self._breaker = CircuitBreaker(
            fail_max=terms.fail_max, timeout_duration=timedelta(seconds=terms.rest), exclude=[_Fault]
        )

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> RemoteAnswer:
        """The answer to one request, after as many tries as the terms allow."""
        terms = self._terms
        worth_it: retry_base = retry_if_exception_type(_Failed)
        if method == "GET":
            # The same question gets the same answer, and a client waits.
            worth_it &= retry_if_not_exception_type(_Fault)
        tries = AsyncRetrying(
            stop=stop_after_attempt(terms.tries),
            wait=wait_exponential(multiplier=terms.first_wait, max=terms.longest_wait),
            retry=worth_it,
            before_sleep=before_sleep_log(logger, logging.WARNING),
            reraise=True,
        )
        try:
            answer: RemoteAnswer = await tries(self._guarded, method, path, headers, body)
        except _Failed as error:
            raise RecordsUnavailable(str(error)) from error
        return answer

    async def _guarded(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> RemoteAnswer:
        if self._breaker.current_state is CircuitBreakerState.HALF_OPEN:
            # One request finds out whether it is back; the others do not wait for that.
            raise self._resting()
        try:
            answer: RemoteAnswer = await self._breaker.call_async(self._once, method, path, headers, body)
        except CircuitBreakerError as error:
            if isinstance(error.__cause__, _Failed):
                logger.warning("%s failed repeatedly and is left alone for a while", self.url)
                raise RecordsUnavailable(str(error.__cause__)) from error
            raise self._resting() from error
        except asyncio.CancelledError:
            if self._breaker.current_state is CircuitBreakerState.HALF_OPEN:
                self._breaker.open()  # It did not find out: another one will.
            raise
        return answer

    def _resting(self) -> RecordsUnavailable:
        text = f"{self.url} failed repeatedly and is not asked at present"
        return RecordsUnavailable(text, round(self._terms.rest) or 1)

    async def _once(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> RemoteAnswer:
        try:
            async with self._session.request(
                method,
                self._base + path,
                headers=headers,
                data=body,
                timeout=aiohttp.ClientTimeout(total=self._terms.timeout),
                allow_redirects=method == "GET",
                max_redirects=MAX_REDIRECTS,
            ) as response:
                answer = RemoteAnswer(response.status, response.content_type, await _bounded(response))
        except TimeoutError as error:
            raise _Failed(f"{self.url} did not answer within {self._terms.timeout:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _Failed(f"{self.url} cannot be asked: {error or type(error).__name__}") from error
        if answer.status in _AWAY | _FAULTS:
            kind = _Fault if answer.status in _FAULTS else _Failed
            raise kind(f"{self.url} answered {answer.status}: {answer.text}")
        return answer


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """The body up to one byte more than a record may have; the rest stays unread."""
    body = bytearray()
    while len(body) <= MAX_BYTES:
        piece = await response.content.read(MAX_BYTES + 1 - len(body))
        if not piece:
            break
        body += piece
    return bytes(body)
