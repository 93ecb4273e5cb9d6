"""IPNS names from our own store, then from elsewhere: the newest genuine record wins."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest

from ipld.errors import ExpiredRecord, InvalidRecord, NameNotFound, RecordNotFound
from ipld.ipns_name import IpnsName
from ipld.ipns_record import IpnsRecord
from naming import ipns
from naming.ipns import IpnsNames
from naming.memory_records import MemoryRecords
from naming.record_search import RecordSearch, SearchTerms
from naming.records import OlderRecord, Origin, RecordsUnavailable
from naming.via import MAX_HOPS, Via, new_mark
from tests.naming.ipns_records import HELLO, Owner

Says = IpnsRecord | Exception | None


@dataclass
class Source:
    """A RecordSource that says what the test has it say."""

    says: Says = None
    wait: Callable[[], Awaitable[object]] | None = None
    url: str = "https://source.example"
    asked: int = 0
    via: list[Via] = field(default_factory=list)

    async def find(self, name: IpnsName, via: Via = ()) -> IpnsRecord | None:
        self.asked += 1
        self.via.append(via)
        if self.wait is not None:
            await self.wait()
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


@dataclass
class Known:
    """Names over a store in memory and such sources, in groups."""

    groups: list[list[Source]]
    owner: Owner = field(default_factory=Owner)
    store: MemoryRecords = field(default_factory=MemoryRecords)
    terms: SearchTerms = field(default_factory=lambda: SearchTerms(timeout=2, grace=0.05))

    def __post_init__(self) -> None:
        self.search = RecordSearch(self.groups, self.terms)
        self.names = IpnsNames(self.store, self.search)

    async def sequence(self) -> int:
        return (await self.names.current(self.owner.name)).record.sequence

    async def age(self, seconds: float) -> None:
        """As if the record had been checked so long ago."""
        stored = await self.store.get(self.owner.name)
        assert stored is not None
        self.store._records[self.owner.name] = replace(stored, checked_at=time.time() - seconds)


def known(*groups: list[Source]) -> Known:
    return Known(list(groups))


DOWN = RecordsUnavailable("source is down", 7)


async def test_a_name_is_a_path_a_ttl_and_an_end() -> None:
    it = known()
    record = it.owner.record(ttl=90)
    await it.names.put(it.owner.name, record.raw)
    for form in (
        str(it.owner.name),
        it.owner.name.cid.encode("base32"),
        it.owner.name.cid.encode("base58btc"),
    ):
        found = await it.names.resolve(form)
        assert (str(found.path), found.ttl, found.expires) == (HELLO, 90, record.expires)


async def test_what_is_no_key_is_not_ours() -> None:
    with pytest.raises(NameNotFound, match="not an IPNS name"):
        await known().names.resolve("example.com")


@pytest.mark.parametrize(
    ("seconds", "ttl", "expected"), [(3600.0, 60.0, 60), (30.0, 60.0, 29), (1e9, 1e8, 86400), (0.5, 60.0, 0)]
)
async def test_the_ttl_is_never_past_the_end_and_never_over_a_day(
    seconds: float, ttl: float, expected: int
) -> None:
    it = known()
    await it.names.put(it.owner.name, it.owner.record(seconds=seconds, ttl=ttl).raw)
    assert (await it.names.resolve(str(it.owner.name))).ttl == expected


async def test_nobody_knows() -> None:
    for it in (known(), known([Source()], [Source()])):
        with pytest.raises(RecordNotFound, match="no place that this gateway asks"):
            await it.sequence()


async def test_that_there_is_none_is_remembered_for_a_moment() -> None:
    source = Source()
    it = Known([[source]], terms=SearchTerms(negative_ttl=1.0, max_missing=1))
    for _ in range(3):
        with pytest.raises(RecordNotFound):
            await it.sequence()
    assert source.asked == 1
    # Only of so many names.
    with pytest.raises(RecordNotFound):
        await it.names.current(Owner().name)
    with pytest.raises(RecordNotFound):
        await it.sequence()
    assert source.asked == 3
    await asyncio.sleep(1.1)
    source.says = it.owner.record(4)
    assert await it.sequence() == 4


async def test_what_was_found_is_kept_for_its_ttl() -> None:
    source = Source()
    it = known([source])
    source.says = it.owner.record(1, ttl=60)
    assert await it.sequence() == 1
    assert await it.sequence() == 1
    assert source.asked == 1
    await it.age(40)
    assert (await it.names.current(it.owner.name)).ttl in (19, 20)
    await it.age(61)
    source.says = it.owner.record(2, ttl=60)
    assert await it.sequence() == 2
    assert source.asked == 2


async def test_without_a_newer_one_the_record_is_good_for_another_ttl() -> None:
    source = Source()
    it = known([source])
    await it.names.put(it.owner.name, it.owner.record(3, ttl=60).raw)
    await it.age(61)
    for _ in range(2):
        assert (await it.names.current(it.owner.name)).ttl == 60
    assert source.asked == 1


async def test_a_ttl_of_nothing_does_not_hammer_others() -> None:
    source = Source()
    it = known([source])
    source.says = it.owner.record(1, ttl=0)
    assert await it.sequence() == 1
    assert await it.sequence() == 1
    assert source.asked == 1
    await it.age(ipns.MIN_SEARCH_SECONDS + 1)
    assert await it.sequence() == 1
    assert source.asked == 2


async def test_an_older_record_never_takes_the_place_of_a_newer_one() -> None:
    source = Source()
    it = known([source])
    await it.names.put(it.owner.name, it.owner.record(5).raw)
    await it.age(1000)
    source.says = it.owner.record(4, seconds=1e6)
    assert await it.sequence() == 5
    with pytest.raises(OlderRecord, match="its sequence is 5, that of the one given 4"):
        await it.names.put(it.owner.name, it.owner.record(4).raw)


async def test_an_expired_record_does_not_give_way_to_an_older_one() -> None:
    source = Source()
    it = known([source])
    await it.store.put(it.owner.name, it.owner.record(5, seconds=-1), Origin.GIVEN)
    source.says = it.owner.record(4, seconds=1e6)
    with pytest.raises(ExpiredRecord):
        await it.sequence()
    source.says = it.owner.record(6)
    it.search._missing.clear()
    assert await it.sequence() == 6


async def test_what_lies_in_the_store_is_checked_again() -> None:
    it = known()
    await it.store.put(it.owner.name, Owner().record(1), Origin.GIVEN)
    with pytest.raises(InvalidRecord, match="not signed by the key"):
        await it.sequence()


async def test_the_highest_of_a_group_wins() -> None:
    it = known()
    low, high, forged = Source(), Source(wait=lambda: asyncio.sleep(0.01)), Source(InvalidRecord("forged"))
    low.says, high.says = it.owner.record(1), it.owner.record(2)
    it = Known([[low, high, forged, Source(DOWN)]], owner=it.owner)
    assert await it.sequence() == 2


async def test_nobody_waits_long_for_who_may_have_a_newer_one() -> None:
    it = known()
    quick, slow = Source(it.owner.record(1)), Source(it.owner.record(2), wait=lambda: asyncio.sleep(30))
    it = Known([[quick, slow]], owner=it.owner)
    before = time.monotonic()
    assert await it.sequence() == 1
    assert time.monotonic() - before < 15


async def test_later_groups_are_asked_only_if_need_be() -> None:
    router, gateway = Source(), Source()
    it = known([router], [gateway])
    router.says = it.owner.record(1)
    assert await it.sequence() == 1
    assert gateway.asked == 0
    router.says, gateway.says = DOWN, it.owner.record(2)
    await it.age(1000)
    assert await it.sequence() == 2


async def test_failures_are_told_from_there_being_none(caplog: pytest.LogCaptureFixture) -> None:
    it = known([Source(DOWN, wait=lambda: asyncio.sleep(0.01))], [Source()])
    told = await asyncio.gather(*(it.sequence() for _ in range(3)), return_exceptions=True)
    for error in told:
        # Why is for the log, once: it holds addresses of servers that readers do not know.
        assert isinstance(error, RecordsUnavailable)
        assert str(error) == f"the record of {it.owner.name} cannot be looked for now"
        assert error.retry_after == 7
    assert caplog.text.count("source is down") == 1
    with pytest.raises(InvalidRecord, match="forged"):
        await known([Source(InvalidRecord("forged"))], [Source()]).sequence()


async def test_while_nobody_can_be_asked_the_record_at_hand_goes_on() -> None:
    source = Source(DOWN)
    it = known([source])
    await it.names.put(it.owner.name, it.owner.record(1, ttl=60).raw)
    await it.age(1000)
    current = await it.names.current(it.owner.name)
    assert (current.record.sequence, current.ttl) == (1, ipns.UNSURE_TTL)
    source.says = InvalidRecord("forged")
    assert await it.sequence() == 1
    # An expired one does not: that is what it says.
    other = Owner()
    await it.store.put(other.name, other.record(seconds=-1), Origin.FOUND)
    with pytest.raises(ExpiredRecord):
        await it.names.current(other.name)


async def test_records_of_our_own_are_not_looked_for() -> None:
    source = Source()
    it = known([source])
    await it.store.advance(it.owner.name, lambda _: it.owner.record(1, ttl=60))
    await it.age(1000)
    assert (await it.names.current(it.owner.name)).ttl == 60
    assert source.asked == 0


async def test_equal_searches_are_one_and_outlive_who_began_them() -> None:
    gate = asyncio.Event()
    it = known()
    source = Source(it.owner.record(1), wait=gate.wait)
    it = Known([[source]], owner=it.owner)
    first, second = (asyncio.create_task(it.sequence()) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    gate.set()
    assert await second == 1
    assert source.asked == 1


async def test_a_search_says_through_whom_it_goes() -> None:
    gate, source = asyncio.Event(), Source()
    source.wait = gate.wait
    it, asker = known([source]), new_mark()
    asking = [
        asyncio.create_task(it.names.asked_by(via).current(it.owner.name))
        for via in ((), (), (asker,), (asker,), (asker, new_mark()))
    ]
    while source.asked < 3:
        await asyncio.sleep(0.005)
    gate.set()
    for error in await asyncio.gather(*asking, return_exceptions=True):
        assert isinstance(error, RecordNotFound)
    # One search each: who asks us waits for none that may wait for him.
    (ours,), (first, second), (_, _, third) = source.via
    assert (source.asked, first, second, third) == (3, asker, ours, ours)


async def test_a_question_of_our_own_that_comes_back_is_answered_from_what_is_here() -> None:
    source = Source()
    it = known([source])
    with pytest.raises(RecordNotFound):
        await it.names.current(Owner().name)
    for via in (source.via[0], (new_mark(), *source.via[0], new_mark()), (new_mark(),) * MAX_HOPS):
        names = it.names.asked_by(via)
        with pytest.raises(RecordNotFound, match="no place that this gateway asks"):
            await names.current(it.owner.name)
    await it.names.put(it.owner.name, it.owner.record(1, ttl=60).raw)
    await it.age(1000)
    source.says = it.owner.record(2)
    current = await it.names.asked_by(source.via[0]).current(it.owner.name)
    assert (current.record.sequence, current.ttl, source.asked) == (1, ipns.UNSURE_TTL, 1)
    assert await it.sequence() == 2


async def test_a_search_for_others_makes_nobody_sure() -> None:
    """The asker is left out of it, who may have a record, or a newer one."""
    source = Source()
    it = known([source])
    other = it.names.asked_by((new_mark(),))
    for _ in range(2):
        with pytest.raises(RecordNotFound):
            await other.current(it.owner.name)
    assert source.asked == 2
    await it.names.put(it.owner.name, it.owner.record(1, ttl=60).raw)
    await it.age(1000)
    for _ in range(2):
        assert (await other.current(it.owner.name)).record.sequence == 1
    assert source.asked == 4
    source.says = it.owner.record(2)
    assert await it.sequence() == 2


async def test_searches_end_in_time_and_are_not_too_many(caplog: pytest.LogCaptureFixture) -> None:
    source = Source(wait=lambda: asyncio.sleep(30))
    it = Known([[source]], terms=SearchTerms(timeout=0.1, max_searches=1))
    waiting = asyncio.create_task(it.sequence())
    await asyncio.sleep(0.01)
    with pytest.raises(RecordsUnavailable, match="too many"):
        await it.names.current(Owner().name)
    with pytest.raises(RecordsUnavailable, match="cannot be looked for now"):
        await waiting
    assert "no record within 0.1 s" in caplog.text
    again = asyncio.create_task(it.sequence())
    await asyncio.sleep(0.01)
    await it.search.aclose()
    with pytest.raises(asyncio.CancelledError):
        await again


async def test_what_is_put_is_genuine_and_leads_somewhere() -> None:
    it = known()
    heard: list[str] = []
    it.names.listeners.append(heard.append)
    for raw, reason in (
        (Owner().record().raw, "not signed"),
        (it.owner.record(seconds=-1).raw, "expired"),
        (it.owner.record(value="/nowhere").raw, "points to no content path"),
        (b"x", "no protobuf"),
    ):
        with pytest.raises(InvalidRecord, match=reason):
            await it.names.put(it.owner.name, raw)
    assert not heard
    record = it.owner.record()
    assert await it.names.put(it.owner.name, record.raw) == record
    assert await it.names.put(it.owner.name, record.raw) == record
    assert heard == [str(it.owner.name)] * 2


async def test_found_records_are_dropped_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source()
    it = known([source])
    source.says = it.owner.record()
    await it.sequence()
    assert await it.names.prune() == 0
    monkeypatch.setattr(ipns, "MAX_FOUND", 0)
    assert await it.names.prune() == 1
