"""DNSLink over HTTP, with the DNS on loopback: paths, websites, Cache-Control, and a DNS that fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import dns.rcode
import pytest

from cache.names import CachedNames, NameLimits
from config.settings import Settings
from gateway.hosts import Hosts
from gateway.wiring import open_gateway
from ipld.errors import InvalidPath, NameNotFound
from naming.dns_by_domain import open_dns
from naming.dnslink import DnsLinkNames, parse_overrides
from naming.names import Names
from tests.gateway.gateways import Running, running
from tests.naming.dns_server import Zone, dns_server


@asynccontextmanager
async def linked(
    zone: Zone, overrides: dict[str, str] | None = None, **changed: object
) -> AsyncIterator[Running]:
    async with dns_server(zone) as url, open_dns({"": url}, timeout=1) as txt:
        dnslink = DnsLinkNames(txt, parse_overrides(overrides or {}))
        names = CachedNames(Names(dnslink, dnslink), NameLimits())
        async with running(names=names, **changed) as gate:
            yield gate


async def test_the_ttl_of_the_record_is_what_clients_may_keep() -> None:
    zone = Zone(ttl=120)
    async with linked(zone) as gate:
        cid = await gate.put("hello.txt", b"hello")
        zone.put("_dnslink.docs.test", f"dnslink=/ipfs/{cid}")
        for url in ("/ipns/docs.test", "/ipns/DOCS.test", "/ipns/docs.test./"):
            answer = await gate.get(url)
            assert (answer.status, answer.body) == (200, b"hello"), url
            assert answer.headers["Cache-Control"] in ("public, max-age=120", "public, max-age=119")
    assert zone.asked == [("udp", "_dnslink.docs.test")]


@pytest.mark.parametrize(
    ("name", "status", "says"),
    [
        ("none.test", 404, "none.test has no DNSLink"),
        ("empty.test", 404, "no TXT record of _dnslink.empty.test is dnslink="),
        ("nonsense", 404, "neither an IPNS name"),
        ("broken.test", 502, "no DNS server gave a usable answer"),
        ("silent.test", 504, "did not answer"),
        ("loop.test", 400, "more than 32 names point to each other"),
    ],
)
async def test_what_goes_wrong_has_its_status(name: str, status: int, says: str) -> None:
    zone = Zone(rcodes={"_dnslink.broken.test": dns.rcode.SERVFAIL}, silent={"_dnslink.silent.test"})
    zone.put("_dnslink.empty.test", "v=spf1 -all")
    zone.put("_dnslink.loop.test", "dnslink=/ipns/loop.test")
    async with linked(zone) as gate:
        answer = await gate.get(f"/ipns/{name}")
        assert answer.status == status
        assert says in answer.body.decode()


async def test_a_website_of_its_own_and_no_question_for_other_hosts() -> None:
    zone = Zone()
    async with linked(zone, hosts=Hosts(sites=["docs.test"])) as gate:
        cid = await gate.put("hello.txt", b"hello")
        zone.put("_dnslink.docs.test", f"dnslink=/ipfs/{cid}")
        answer = await gate.get("/", Host="docs.test")
        assert (answer.status, answer.body) == (200, b"hello")
        await gate.get("/", Host="unlisted.test")
        await gate.get("/", Host="127.0.0.1")
    assert zone.asked == [("udp", "_dnslink.docs.test")]


async def test_the_map_of_the_operator_through_the_wiring(database: str, tmp_path: Path) -> None:
    given = {
        "DATA_DIR": str(tmp_path),
        "DATABASE_URL": database,
        "IPFS_NS_MAP": "Docs.test:/ipfs/bafkqaaa",
        "DNSLINK_RESOLVERS": '{".": "192.0.2.1", "eth.": "https://192.0.2.1/dns-query"}',
        "DNS_TIMEOUT": "200ms",
    }
    async with open_gateway(Settings.from_env(given)) as gateway:
        found = await gateway.names.resolve("docs.test")
        assert (found.path.root, found.ttl) == ("bafkqaaa", None)
        with pytest.raises(NameNotFound):
            await gateway.names.resolve("nonsense")
    with pytest.raises(InvalidPath, match="IPFS_NS_MAP"):
        async with open_gateway(Settings.from_env(given | {"IPFS_NS_MAP": "docs.test:/ipfs/oops"})):
            pass
