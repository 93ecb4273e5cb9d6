"""Looking for an IPNS record in every place elsewhere: the newest that is genuine wins."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from ipld.errors import InvalidRecord, StoreUnavailable
from ipld.ipns_name import IpnsName
from ipld.ipns_record import IpnsRecord
from naming.records import RecordSource, RecordsUnavailable
from naming.via import MAX_HOPS, Via, new_mark

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SearchTerms:
    """Times in seconds. `timeout` bounds a whole search; once one source has a record the others have
    `grace` to bring a newer one. That a name has no record is remembered for `negative_ttl`, of at most
    `max_missing` names. More than `max_searches` names at once are refused."""

    timeout: float = 25.0
    grace: float = 1.0
    negative_ttl: float = 10.0
    max_missing: int = 10_000
    max_searches: int = 256


@dataclass(slots=True)
class _Search:
    """What the sources of one round said, who were asked by the gateways `via`, this one last."""

    via: Via
    found: list[IpnsRecord] = field(default_factory=list)
    failures: list[StoreUnavailable] = field(default_factory=list)
    invalid: list[InvalidRecord] = field(default_factory=list)

    @property
    def best(self) -> IpnsRecord | None:
        return max(self.found, key=lambda record: record.order, default=None)


class RecordSearch:
    """Asks one group of sources after the other, all of a group at once; equal searches are one.

    Searches for one name are equal only if they came through the same gateways. Otherwise each of two
    gateways that ask each other might join the search of its own that waits for the other.
    """

    def __init__(self, groups: Sequence[Sequence[RecordSource]], terms: SearchTerms | None = None) -> None:
        self._groups = [group for group in groups if group]
        self._terms = terms or SearchTerms()
        self._under_way: dict[tuple[IpnsName, Via], asyncio.Task[IpnsRecord | None]] = {}
        self._missing: dict[IpnsName, float] = {}
        self._mark = new_mark()

    @property
    def has_sources(self) -> bool:
        """Whether there is anybody to ask."""
        return bool(self._groups)

    def is_circle(self, via: Via) -> bool:
        """Whether a question that came through these gateways was here before, or has come too far."""
        return self._mark in via or len(via) >= MAX_HOPS

    async def __call__(self, name: IpnsName, via: Via = ()) -> IpnsRecord | None:
        """The newest verified record; None where no source has one. `via` are the gateways that the question
        came through.

        Raises RecordsUnavailable where some failed and no other had one (which those are, and why, stands in
        the log alone), InvalidRecord where all there is does not count.
        """
        if not self._groups or self._missing.get(name, 0.0) > time.monotonic():
            return None
        task = self._under_way.get((name, via))
        if task is None:
            if len(self._under_way) >= self._terms.max_searches:
                raise RecordsUnavailable("too many IPNS names are looked for at this moment", 1)
            task = self._under_way[name, via] = asyncio.create_task(self._search(name, via))
            task.add_done_callback(lambda done: self._landed(name, via, done))
        # One client that leaves must not take the answer from the others who wait for it.
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """End every search."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _landed(self, name: IpnsName, via: Via, task: asyncio.Task[IpnsRecord | None]) -> None:
        self._under_way.pop((name, via), None)
        if not task.cancelled():
            task.exception()  # Whoever waited has seen it; nobody may be left who does.

    async def _search(self, name: IpnsName, via: Via) -> IpnsRecord | None:
        search = _Search((*via, self._mark))
        try:
            async with asyncio.timeout(self._terms.timeout):
                for group in self._groups:
                    await self._ask(group, name, search)
                    if search.found:
                        break
        except TimeoutError:
            search.failures.append(RecordsUnavailable(f"no record within {self._terms.timeout:g} s"))
        if search.best is not None:
            return search.best
        if search.failures:
            raise _unavailable(name, search.failures)
        if search.invalid:
            raise search.invalid[0]
        if not via:
            self._remember_missing(name)
        return None

    async def _ask(self, group: Sequence[RecordSource], name: IpnsName, search: _Search) -> None:
        waiting = {asyncio.create_task(_find(source, name, search)) for source in group}
        try:
            while waiting and not search.found:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if waiting:
                _, waiting = await asyncio.wait(waiting, timeout=self._terms.grace)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    def _remember_missing(self, name: IpnsName) -> None:
        self._missing.pop(name, None)
        while len(self._missing) >= self._terms.max_missing:
            del self._missing[next(iter(self._missing))]
        self._missing[name] = time.monotonic() + self._terms.negative_ttl


async def _find(source: RecordSource, name: IpnsName, search: _Search) -> None:
    try:
        record = await source.find(name, search.via)
    except StoreUnavailable as error:
        search.failures.append(error)
    except InvalidRecord as error:
        logger.warning("%s gave a record that does not count: %s", source.url, error)
        search.invalid.append(error)
    else:
        if record is not None:
            search.found.append(record)


def _unavailable(name: IpnsName, failures: Sequence[StoreUnavailable]) -> RecordsUnavailable:
    # Readers are not told where the gateway asks, nor what is said there.
    reasons = "; ".join(sorted({str(failure) for failure in failures}))
    logger.warning("cannot look for the record of %s: %s", name, reasons)
    wait = min(failure.retry_after for failure in failures)
    return RecordsUnavailable(f"the record of {name} cannot be looked for now", wait)
