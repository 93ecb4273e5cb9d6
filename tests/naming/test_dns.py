"""TXT records from real DNS servers on loopback: UDP, TCP, forged and broken answers, servers that fail."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import pytest
import uvloop
from aiobreaker.state import CircuitBreakerState
from hypothesis import given, settings
from hypothesis import strategies as st

from ipld.errors import NameTimeout, NameUnavailable, StoreUnavailable
from naming import guarded_dns
from naming.dns import DnsLookups, TxtAnswer
from naming.dns_by_domain import open_dns
from naming.dns_servers import DnsServer, SystemServers
from naming.guarded_dns import GuardedDns
from tests.naming.dns_server import Answer, Zone, dns_server

NAME = "_dnslink.example.test"
LINK = "dnslink=/ipfs/bafkqaaa"


@pytest.fixture
def zone() -> Zone:
    zone = Zone()
    zone.put(NAME, LINK)
    return zone


async def test_a_record_and_its_ttl(zone: Zone) -> None:
    async with dns_server(zone) as url, open_dns({"": url}, timeout=5) as names:
        assert await names.lookup(NAME) == TxtAnswer((LINK.encode(),), 300)
    assert zone.asked == [("udp", NAME)]


def test_the_event_loop_of_production() -> None:
    async def ask() -> TxtAnswer:
        zone = Zone()
        zone.records[NAME] = [[b"x" * 250] for _ in range(3)] + [[b"y" * 250]]
        async with dns_server(zone) as url, open_dns({"": url}, timeout=5) as names:
            answer = await names.lookup(NAME)
        assert zone.asked == [("udp", NAME), ("tcp", NAME)]
        return answer

    assert set(uvloop.run(ask()).texts) == {b"x" * 250, b"y" * 250}


async def test_the_strings_of_one_record_are_one_text(zone: Zone) -> None:
    zone.records[NAME] = [[b"dnslink=/ipfs/", b"bafkqaaa", b"/a"], [b"other"]]
    async with dns_server(zone) as url, open_dns({"": url}, timeout=5) as names:
        assert set((await names.lookup(NAME)).texts) == {b"dnslink=/ipfs/bafkqaaa/a", b"other"}


async def test_what_does_not_fit_into_udp_comes_over_tcp(zone: Zone) -> None:
    texts = [f"{n:04}" + "x" * 200 for n in range(20)]
    zone.put(NAME, *texts)
    async with dns_server(zone) as url, open_dns({"": url}, timeout=5) as names:
        assert sorted((await names.lookup(NAME)).texts) == [text.encode() for text in texts]
    assert zone.asked == [("udp", NAME), ("tcp", NAME)]


async def test_an_answer_that_would_take_long_to_read_is_refused(zone: Zone) -> None:
    zone.put(NAME, *(f"{n:04}" + "x" * 200 for n in range(60)))
    async with dns_server(zone) as url, open_dns({"": url}, timeout=5) as names:
        with pytest.raises(NameUnavailable):
            await names.lookup(NAME)


async def test_a_cname_is_followed_and_its_ttl_counts(zone: Zone) -> None:
    zone.aliases["_dnslink.www.test"] = NAME
    async with dns_server(zone) as url, open_dns({"": url}, timeout=5) as names:
        assert await names.lookup("_dnslink.www.test") == TxtAnswer((LINK.encode(),), 60)


async def test_cnames_in_a_circle_are_an_error(zone: Zone) -> None:
    zone.aliases = {"_dnslink.a.test": "_dnslink.b.test", "_dnslink.b.test": "_dnslink.a.test"}
    async with dns_server(zone) as url, open_dns({"": url}, timeout=5) as names:
        with pytest.raises(NameUnavailable):
            await names.lookup("_dnslink.a.test")


@pytest.mark.parametrize("rcode", [dns.rcode.NXDOMAIN, dns.rcode.NOERROR])
async def test_no_name_and_no_record_are_no_texts(zone: Zone, rcode: dns.rcode.Rcode) -> None:
    zone.rcodes["_dnslink.none.test"] = rcode
    zone.aliases["_dnslink.none.test"] = "nothing.test"
    async with dns_server(zone) as url, open_dns({"": url}, timeout=5) as names:
        assert (await names.lookup("_dnslink.none.test")).texts == ()


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.FORMERR])
async def test_a_failure_is_tried_again_and_is_not_a_missing_name(zone: Zone, rcode: dns.rcode.Rcode) -> None:
    zone.rcodes[NAME] = rcode
    async with dns_server(zone) as url, open_dns({"": url}, timeout=5) as names:
        with pytest.raises(NameUnavailable) as raised:
            await names.lookup(NAME)
    assert zone.asked == [("udp", NAME)] * guarded_dns.TRIES
    assert "127.0.0.1" not in str(raised.value), "our servers are nobody else's business"


async def test_a_passing_failure_does_not_show(zone: Zone) -> None:
    def respond(query: dns.message.Message, transport: str) -> Answer:
        zone.rcodes[NAME] = dns.rcode.NOERROR if zone.asked else dns.rcode.SERVFAIL
        return zone.respond(query, transport)

    async with dns_server(zone, respond) as url, open_dns({"": url}, timeout=5) as names:
        assert (await names.lookup(NAME)).texts
    assert len(zone.asked) == 2


async def test_a_lost_packet_is_sent_again(zone: Zone) -> None:
    def respond(query: dns.message.Message, transport: str) -> Answer:
        answer = zone.respond(query, transport)
        return answer if len(zone.asked) > 1 else None

    async with dns_server(zone, respond) as url, open_dns({"": url}, timeout=1) as names:
        assert (await names.lookup(NAME)).texts
    assert len(zone.asked) == 2


async def test_forged_answers_are_passed_over(zone: Zone) -> None:
    def respond(query: dns.message.Message, transport: str) -> Answer:
        wrong_id = dns.message.make_response(query)
        wrong_id.id ^= 1
        wrong_id.answer.append(dns.rrset.from_text(f"{NAME}.", 60, "IN", "TXT", '"dnslink=/ipfs/forged"'))
        other = dns.message.make_query("_dnslink.other.test", "TXT", id=query.id)
        wrong_question = dns.message.make_response(other)
        real = zone.respond(query, transport)
        assert isinstance(real, bytes)
        return [b"", b"\0", query.to_wire(), wrong_id.to_wire(), wrong_question.to_wire(), real]

    async with dns_server(zone, respond) as url, open_dns({"": url}, timeout=5) as names:
        assert (await names.lookup(NAME)).texts == (LINK.encode(),)


async def test_an_answer_from_elsewhere_is_passed_over(zone: Zone) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:

        def respond(query: dns.message.Message, transport: str) -> Answer:
            forged = dns.message.make_response(query)
            forged.answer.append(dns.rrset.from_text(f"{NAME}.", 60, "IN", "TXT", '"dnslink=/ipfs/forged"'))
            elsewhere.sendto(forged.to_wire(), zone.client)
            return zone.respond(query, transport)

        async with dns_server(zone, respond) as url, open_dns({"": url}, timeout=5) as names:
            assert (await names.lookup(NAME)).texts == (LINK.encode(),)


async def test_a_forged_answer_alone_is_none(zone: Zone) -> None:
    def respond(query: dns.message.Message, transport: str) -> Answer:
        forged = dns.message.make_response(query)
        forged.id ^= 1
        return forged.to_wire()

    async with dns_server(zone, respond) as url, open_dns({"": url}, timeout=0.5) as names:
        with pytest.raises(NameTimeout):
            await names.lookup(NAME)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_whatever_a_server_sends_is_an_answer_or_a_failure(garbage: bytes, has_header: bool) -> None:
    async def ask() -> None:
        def respond(query: dns.message.Message, transport: str) -> Answer:
            if transport == "udp":
                cut = dns.message.make_response(query)
                cut.flags |= dns.flags.TC
                return cut.to_wire()
            # The header of an answer, with whatever counts and records.
            return query.id.to_bytes(2, "big") + b"\x80\0" + garbage if has_header else garbage

        async with dns_server(Zone(), respond) as url:
            port = int(url.rpartition(":")[2])
            lookups = DnsLookups(lambda: [DnsServer("127.0.0.1", port)], timeout=0.1)
            with suppress(NameUnavailable):
                assert isinstance(await lookups.lookup(NAME), TxtAnswer)

    asyncio.run(ask())


async def test_silence_ends_in_time(zone: Zone) -> None:
    zone.is_silent = True
    async with dns_server(zone) as url, open_dns({"": url}, timeout=2) as names:
        began = time.monotonic()
        with pytest.raises(NameTimeout):
            await names.lookup(NAME)
        assert time.monotonic() - began < 3.9, "not as long as two of them"


async def test_a_server_that_is_away_is_left_alone_and_asked_again_later(zone: Zone) -> None:
    zone.is_silent = True
    async with dns_server(zone) as url, open_dns({"": url}, timeout=1, fail_max=2, rest=1) as names:
        for _ in range(2):
            with pytest.raises(NameTimeout):
                await names.lookup(NAME)
        zone.is_silent = False
        with pytest.raises(StoreUnavailable) as raised:
            await names.lookup(NAME)
        assert (type(raised.value), raised.value.retry_after) == (StoreUnavailable, 1)
        assert zone.asked == [], "nothing is asked"
        await asyncio.sleep(1.05)
        assert (await names.lookup(NAME)).texts


async def test_names_that_fail_do_not_cut_off_the_others(zone: Zone) -> None:
    zone.silent = {f"_dnslink.{n}.bad.test" for n in range(4)}
    zone.rcodes = {f"_dnslink.{n}.worse.test": dns.rcode.SERVFAIL for n in range(4)}
    async with dns_server(zone) as url, open_dns({"": url}, timeout=1.5, fail_max=2) as names:
        failing = [*zone.silent, *zone.rcodes]
        results = await asyncio.gather(*map(names.lookup, failing), return_exceptions=True)
        assert all(isinstance(result, NameUnavailable) for result in results)
        assert (await names.lookup(NAME)).texts


async def test_sockets_are_bounded_whatever_is_asked(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_dns, "MAX_LOOKUPS", 3)
    under_way, most = 0, 0

    class Counting:
        async def lookup(self, name: str) -> TxtAnswer:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.01)
            under_way -= 1
            return TxtAnswer((), 0)

    guarded = GuardedDns(Counting(), "a server", timeout=5)
    await asyncio.gather(*(guarded.lookup(f"{n}.test") for n in range(20)))
    assert most == 3


async def test_a_domain_that_hangs_takes_no_room_from_others() -> None:
    under_way, most = 0, 0

    class Hanging:
        async def lookup(self, name: str) -> TxtAnswer:
            nonlocal under_way, most
            if not name.lower().rstrip(".").endswith(".evil.test"):
                return TxtAnswer(("found",), 0)
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(60)
            return TxtAnswer((), 0)

    guarded = GuardedDns(Hanging(), "a server", timeout=4)
    names = [f"_dnslink.{n}.{domain}" for n in range(300) for domain in ("evil.test", "EVIL.test.")]
    hanging = [asyncio.create_task(guarded.lookup(name)) for name in names]
    await asyncio.sleep(0.05)
    began = time.monotonic()
    assert (await guarded.lookup("_dnslink.good.test")).texts
    assert (await guarded.lookup(".")).texts
    assert time.monotonic() - began < 3
    assert most == guarded_dns.MAX_LOOKUPS_OF_DOMAIN
    results = await asyncio.gather(*hanging, return_exceptions=True)
    assert {type(result) for result in results} == {NameTimeout}
    assert not guarded._shares


async def test_a_lookup_that_is_given_up_opens_no_breaker(zone: Zone) -> None:
    zone.is_silent = True
    async with dns_server(zone) as url:
        port = int(url.rpartition(":")[2])
        lookups = DnsLookups(lambda: [DnsServer("127.0.0.1", port)], 5)
        guarded = GuardedDns(lookups, url, timeout=5, fail_max=1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await guarded.lookup(NAME)
        assert guarded._breaker.current_state is CircuitBreakerState.CLOSED


async def test_each_domain_has_its_own_server(zone: Zone) -> None:
    eth, deep, rest = Zone(), Zone(), Zone()
    async with dns_server(eth) as a, dns_server(deep) as b, dns_server(rest) as c:
        servers = {"eth": a, "deep.eth": b, "": c}
        async with open_dns(servers, timeout=5) as names:
            for name in ("x.eth", "deep.eth", "x.deep.eth", "xdeep.eth", "eth.org", "org"):
                await names.lookup(name)
    assert [name for _, name in eth.asked] == ["x.eth", "xdeep.eth"]
    assert [name for _, name in deep.asked] == ["deep.eth", "x.deep.eth"]
    assert [name for _, name in rest.asked] == ["eth.org", "org"]


def test_the_servers_of_this_machine(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    system = SystemServers(conf)
    with pytest.raises(dns.resolver.NoResolverConfiguration):
        system()
    conf.write_text("# none yet\n")
    with pytest.raises(dns.resolver.NoResolverConfiguration):
        system()
    conf.write_text("search lan\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n")
    assert [server.answer_nameserver() for server in system()] == ["192.0.2.1", "2001:db8::1"]
    assert system() is system(), "read once"
    other = tmp_path / "new"
    other.write_text("nameserver 192.0.2.7\n")
    other.rename(conf)
    assert [server.answer_nameserver() for server in system()] == ["192.0.2.7"]
    for broken in (b"nameserver here\n", b"\xff\xfe\n", b""):
        other.write_bytes(broken)
        other.rename(conf)
        with pytest.raises(dns.resolver.NoResolverConfiguration):
            system()


async def test_a_machine_without_dns_says_so(tmp_path: Path) -> None:
    lookups = DnsLookups(SystemServers(tmp_path / "missing"), timeout=1)
    with pytest.raises(NameUnavailable, match="names no DNS server"):
        await lookups.lookup(NAME)


async def test_a_second_server_answers_for_a_dead_one(zone: Zone) -> None:
    dead = Zone(is_silent=True)
    async with dns_server(dead) as one, dns_server(zone) as other:
        ports = [int(url.rpartition(":")[2]) for url in (one, other)]
        lookups = DnsLookups(lambda: [DnsServer("127.0.0.1", port) for port in ports], timeout=2)
        assert (await lookups.lookup(NAME)).texts


async def test_nothing_is_asked_before_the_first_lookup(zone: Zone) -> None:
    async with dns_server(zone) as url, open_dns({"": url, "eth": "https://192.0.2.1/dns-query"}, timeout=5):
        await asyncio.sleep(0.05)
    assert zone.asked == []
