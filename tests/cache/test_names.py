"""Names are asked for once, remembered for as long as they hold, and forgotten when something changes."""

from __future__ import annotations

import asyncio
import gc
import time

import dns.rcode
import pytest

from cache import names as module
from cache.names import CachedNames, NameLimits
from ipld.errors import NameNotFound, NameUnavailable
from ipld.ipns_name import IpnsName
from ipld.names import ResolvedName
from ipld.paths import ContentPath
from naming.dns_by_domain import open_dns
from naming.dnslink import DnsLinkNames
from naming.names import Names
from tests.naming.dns_server import Zone, dns_server

CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
PATH = ContentPath("ipfs", CID)
PEER = "12D3KooWRBy97UB99e3J6hiPesre1MZeuNQvfan4gBziswrRJsNK"
KEY = str(IpnsName.parse(PEER))


class Source:
    """A NameResolver whose answers are given, after `delay` seconds, and whose questions are counted."""

    def __init__(self, answer: ResolvedName | Exception, delay: float = 0.0) -> None:
        self.answer = answer
        self.delay = delay
        self.asked: list[str] = []
        self.cancelled = 0

    async def resolve(self, name: str) -> ResolvedName:
        self.asked.append(name)
        answer = self.answer
        try:
            await asyncio.sleep(self.delay)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_over_a_real_dns_server_each_name_is_asked_for_once() -> None:
    zone = Zone(delay=0.05)
    zone.put("_dnslink.docs.test", f"dnslink=/ipfs/{CID}")
    async with dns_server(zone) as url, open_dns({"": url}, timeout=5) as txt:
        source = DnsLinkNames(txt)
        names = CachedNames(Names(source, source))
        found = await asyncio.gather(*(names.resolve("docs.test") for _ in range(100)))
        assert {answer.path for answer in found} == {PATH}
        assert zone.asked == [("udp", "_dnslink.docs.test")]
        missing = await asyncio.gather(
            *(names.resolve("none.test") for _ in range(100)), return_exceptions=True
        )
        assert {type(answer) for answer in missing} == {NameNotFound}
        for _ in range(3):
            await names.resolve("DOCS.test.")
            with pytest.raises(NameNotFound, match="has no DNSLink"):
                await names.resolve("None.test")
            with pytest.raises(NameNotFound, match="neither"):
                await names.resolve("no name")
        assert zone.asked == [("udp", "_dnslink.docs.test"), ("udp", "_dnslink.none.test")]


async def test_a_failure_of_the_dns_is_asked_again() -> None:
    zone = Zone(rcodes={"_dnslink.docs.test": dns.rcode.SERVFAIL})
    async with dns_server(zone) as url, open_dns({"": url}, timeout=2) as txt:
        source = DnsLinkNames(txt)
        names = CachedNames(Names(source, source))
        with pytest.raises(NameUnavailable):
            await names.resolve("docs.test")
        zone.rcodes.clear()
        zone.put("_dnslink.docs.test", f"dnslink=/ipfs/{CID}")
        assert (await names.resolve("docs.test")).path == PATH


async def test_clients_get_what_is_left_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(ResolvedName(PATH, 60))
    names = CachedNames(source)
    now = time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    assert (await names.resolve("docs.test")).ttl == 60
    now += 45.5
    assert (await names.resolve("docs.test")).ttl == 14
    now += 14.4
    assert (await names.resolve("docs.test")).ttl == 0
    assert len(source.asked) == 1
    now += 0.2
    assert (await names.resolve("docs.test")).ttl == 60
    assert len(source.asked) == 2


async def test_a_name_that_leads_nowhere_is_asked_for_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(NameNotFound("nowhere"))
    names = CachedNames(source, NameLimits(negative_ttl=7))
    now = time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    for _ in range(3):
        with pytest.raises(NameNotFound, match="nowhere"):
            await names.resolve("docs.test")
    assert len(source.asked) == 1
    now += 7.1
    source.answer = ResolvedName(PATH, 60)
    assert (await names.resolve("docs.test")).path == PATH
    assert (await names.resolve("docs.test")).path == PATH
    assert len(source.asked) == 2


async def test_the_longest_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(ResolvedName(PATH, 2**31 - 1))
    names = CachedNames(source, NameLimits(max_ttl=30))
    now = time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    assert (await names.resolve("docs.test")).ttl == 30
    now += 29
    assert (await names.resolve("docs.test")).ttl == 1
    now += 1.1
    await names.resolve("docs.test")
    assert len(source.asked) == 2


async def test_nothing_outlives_its_record() -> None:
    source = Source(ResolvedName(PATH, 3600, time.time() + 0.5))
    names = CachedNames(source)
    assert (await names.resolve("docs.test")).ttl == 0
    await names.resolve("docs.test")
    assert len(source.asked) == 2, "less than a second is left"
    source.answer = ResolvedName(PATH, 3600, time.time() + 10.5)
    assert (await names.resolve("docs.test")).ttl == 10


@pytest.mark.parametrize("ttl", [0, None])
async def test_what_states_no_time_is_not_remembered(ttl: int | None) -> None:
    source = Source(ResolvedName(PATH, ttl))
    names = CachedNames(source)
    for _ in range(2):
        assert (await names.resolve("docs.test")).ttl == ttl
    assert len(source.asked) == 2


async def test_all_forms_of_a_name_are_one() -> None:
    source = Source(ResolvedName(PATH, 60))
    names = CachedNames(source)
    for form in (PEER, KEY, IpnsName.parse(PEER).cid.encode("base32")):
        await names.resolve(form)
    assert source.asked == [KEY]
    names.forget(PEER)
    await names.resolve(KEY)
    assert source.asked == [KEY, KEY]


async def test_what_another_gateway_published_is_seen_within_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = Source(ResolvedName(PATH, 3600))
    names = CachedNames(source)
    now = time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    await names.resolve(KEY)
    now += 0.9
    assert (await names.resolve(KEY)).ttl == 3599
    assert len(source.asked) == 1
    now += 0.2
    source.answer = ResolvedName(ContentPath("ipfs", "bafkqaaa"), 3600)
    assert (await names.resolve(KEY)).path.root == "bafkqaaa"


async def test_a_key_that_another_gateway_publishes_first_is_seen_as_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = Source(NameNotFound("nowhere"))
    names = CachedNames(source, NameLimits(negative_ttl=60))
    now = time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    with pytest.raises(NameNotFound):
        await names.resolve(KEY)
    source.answer = ResolvedName(PATH, 60)
    now += 1.1
    assert (await names.resolve(KEY)).path == PATH


async def test_what_was_forgotten_is_asked_for_again() -> None:
    source = Source(ResolvedName(PATH, 60))
    names = CachedNames(source)
    await names.resolve("docs.test")
    await names.resolve("other.test")
    names.forget("Docs.test")
    await names.resolve("docs.test")
    await names.resolve("other.test")
    assert source.asked == ["docs.test", "other.test", "docs.test"]
    names.clear()
    await names.resolve("docs.test")
    await names.resolve("other.test")
    assert source.asked[3:] == ["docs.test", "other.test"]


async def test_what_was_missing_is_forgotten_too() -> None:
    source = Source(NameNotFound("nowhere"))
    names = CachedNames(source)
    with pytest.raises(NameNotFound):
        await names.resolve("docs.test")
    source.answer = ResolvedName(PATH, 60)
    names.forget("docs.test")
    assert (await names.resolve("docs.test")).path == PATH


@pytest.mark.parametrize("everything", [True, False])
async def test_a_lookup_from_before_a_change_is_not_remembered(everything: bool) -> None:
    old, new = ResolvedName(PATH, 60), ResolvedName(ContentPath("ipfs", "bafkqaaa"), 60)
    source = Source(old, delay=0.05)
    names = CachedNames(source)
    before = asyncio.create_task(names.resolve(KEY))
    await asyncio.sleep(0.01)
    source.answer = new
    if everything:
        names.clear()
    else:
        names.forget(PEER)
    source.delay = 0.2
    after = asyncio.create_task(names.resolve(KEY))
    assert (await before).path == old.path
    assert (await names.resolve(KEY)).path == new.path, "although the old answer came first"
    assert (await after).path == new.path
    assert len(source.asked) == 2


async def test_the_one_who_leaves_fails_nobody_else() -> None:
    source = Source(ResolvedName(PATH, 60), delay=0.05)
    names = CachedNames(source)
    callers = [asyncio.create_task(names.resolve("docs.test")) for _ in range(10)]
    await asyncio.sleep(0.01)
    callers[0].cancel()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert {result.path for result in results[1:] if isinstance(result, ResolvedName)} == {PATH}
    assert (len(source.asked), source.cancelled) == (1, 0)


async def test_a_lookup_ends_when_nobody_waits_for_it() -> None:
    source = Source(ResolvedName(PATH, 60), delay=30)
    names = CachedNames(source)
    callers = [asyncio.create_task(names.resolve("docs.test")) for _ in range(10)]
    await asyncio.sleep(0.01)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    source.delay = 0
    assert (await names.resolve("docs.test")).path == PATH, "and the next one is not held up"
    assert (len(source.asked), source.cancelled) == (2, 1)
    assert names._lookups == {}


async def test_a_failure_reaches_everybody_and_is_not_remembered() -> None:
    source = Source(NameUnavailable("away"), delay=0.01)
    names = CachedNames(source)
    results = await asyncio.gather(*(names.resolve("docs.test") for _ in range(10)), return_exceptions=True)
    assert all(isinstance(result, NameUnavailable) for result in results)
    assert len(source.asked) == 1
    source.answer = ResolvedName(PATH, 60)
    assert (await names.resolve("docs.test")).path == PATH


async def test_a_flood_of_names_is_bounded_and_leaves_those_in_use() -> None:
    source = Source(ResolvedName(PATH, 3600))
    names = CachedNames(source, NameLimits(bytes=100_000))
    await names.resolve("docs.test")
    source.answer = NameNotFound("nowhere " + "x" * 100)
    for n in range(2000):
        with pytest.raises(NameNotFound):
            await names.resolve(f"{n}.flood.test")
    assert names._missing.bytes <= 50_000
    asked = len(source.asked)
    assert (await names.resolve("docs.test")).path == PATH
    assert len(source.asked) == asked
    source.answer = ResolvedName(PATH, 3600)
    for n in range(2000):
        await names.resolve(f"{n}.found.test")
    assert names._found.bytes <= 50_000
    assert names._lookups == {}


async def test_the_bound_is_about_what_python_takes() -> None:
    import tracemalloc

    class Many:
        async def resolve(self, name: str) -> ResolvedName:
            return ResolvedName(ContentPath.parse(f"/ipfs/{CID}/some/directory/of/{name}"), 3600)

    names = CachedNames(Many(), NameLimits(bytes=2_000_000))
    tracemalloc.start()
    try:
        for n in range(3000):
            await names.resolve(f"{n}.found.test")
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert names._found.bytes <= 1_000_000
    assert taken < 2 * names._found.bytes
