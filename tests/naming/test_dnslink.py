"""DNSLink names, over a DNS server on loopback whose questions are counted."""

from __future__ import annotations

from collections.abc import AsyncIterator

import dns.rcode
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from ipld.errors import InvalidPath, NameNotFound, NameRecursion, NameUnavailable
from ipld.names import ResolvedName
from ipld.paths import ContentPath, resolve_names
from naming.dns import TxtAnswer, TxtResolver
from naming.dns_by_domain import open_dns
from naming.dnslink import DnsLinkNames, first_link, parse_overrides
from tests.naming.dns_server import Zone, dns_server

CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
OTHER = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
OLD = "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR"


@pytest.fixture
def zone() -> Zone:
    return Zone()


@pytest_asyncio.fixture
async def txt(zone: Zone) -> AsyncIterator[TxtResolver]:
    async with dns_server(zone) as url, open_dns({"": url}, timeout=2) as names:
        yield names


async def test_a_link_and_its_ttl(zone: Zone, txt: TxtResolver) -> None:
    zone.put("_dnslink.docs.test", f"dnslink=/ipfs/{CID}/a b/%20")
    found = await DnsLinkNames(txt).resolve("Docs.Test.")
    assert found == ResolvedName(ContentPath("ipfs", CID, ("a b", "%20")), 300)


async def test_unicode_names_are_looked_up_as_punycode(zone: Zone, txt: TxtResolver) -> None:
    zone.put("_dnslink.xn--bcher-kva.test", f"dnslink=/ipfs/{CID}")
    assert (await DnsLinkNames(txt).resolve("Bücher.test")).path.root == CID
    assert (await DnsLinkNames(txt).resolve("xn--bcher-kva.test")).path.root == CID


async def test_only_the_prefixed_name_counts(zone: Zone, txt: TxtResolver) -> None:
    # DNSLink spec, "_dnslink subdomain"; Kubo looks nowhere else either.
    zone.put("docs.test", f"dnslink=/ipfs/{CID}")
    with pytest.raises(NameNotFound, match=r"_dnslink\.docs\.test has no TXT record"):
        await DnsLinkNames(txt).resolve("docs.test")
    assert zone.asked == [("udp", "_dnslink.docs.test")]


@pytest.mark.parametrize(
    ("texts", "root"),
    [
        ([f"dnslink=/ipfs/{OTHER}", f"dnslink=/ipfs/{CID}"], CID),
        ([f"dnslink=/ipns/{CID}", f"dnslink=/ipfs/{OTHER}"], OTHER),
        (["v=spf1 -all", "dnslink=", "dnslink=/hyper/x", f"dnslink=/ipfs/{CID}"], CID),
        (["dnslink=/ipfs/nonsense", f"dnslink=/ipfs/{CID}"], CID),
        ([f"dnslink=/ipfs/{CID}", f"dnslink=/ipfs/{CID}"], CID),
        (["dnslink=/ipns/k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8"],) * 1
        + ("k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8",),
        (["dnslink=/ipns/other.example"], "other.example"),
        # As Kubo: old records have the CID alone.
        ([f"dnslink={OLD}"], OLD),
    ],
)
def test_one_of_several_records(texts: list[str], root: str) -> None:
    for order in (texts, texts[::-1]):
        path = first_link([text.encode() for text in order])
        assert path is not None
        assert path.root == root


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"dnslink",
        b"DNSLINK=/ipfs/" + CID.encode(),
        b" dnslink=/ipfs/" + CID.encode(),
        b"dnslink= /ipfs/" + CID.encode(),
        b"/ipfs/" + CID.encode(),
        CID.encode(),
        b"dnslink=/ipfs/" + CID.encode() + b"/\xff",
        b"dnslink=/ipfs/" + CID.encode() + b"/\0",
        b"dnslink=/ipfs/",
        b"dnslink=/ipns/",
        b"dnslink=ipfs/" + CID.encode(),
        b"dnslink=/ipfs/" + CID.encode() + b"/a" * 300,
    ],
)
def test_what_is_no_link(text: bytes) -> None:
    assert first_link([text]) is None


@given(st.lists(st.binary(max_size=60).map(lambda rest: b"dnslink=/ipfs/" + rest) | st.binary(max_size=40)))
def test_any_texts_are_a_link_or_none(texts: list[bytes]) -> None:
    path = first_link(texts)
    assert path is None or path.namespace in ("ipfs", "ipns")
    assert first_link(texts[::-1]) == path


async def test_records_without_a_link_are_named(zone: Zone, txt: TxtResolver) -> None:
    zone.put("_dnslink.docs.test", "dnslink=/ipfs/oops")
    with pytest.raises(NameNotFound, match=r"no TXT record of _dnslink\.docs\.test is dnslink=/ipfs/<cid>"):
        await DnsLinkNames(txt).resolve("docs.test")


async def test_a_dns_that_fails_says_nothing_about_the_name(zone: Zone, txt: TxtResolver) -> None:
    zone.rcodes["_dnslink.docs.test"] = dns.rcode.SERVFAIL
    with pytest.raises(NameUnavailable):
        await DnsLinkNames(txt).resolve("docs.test")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "docs",
        "127.0.0.1",
        "1.2.3.4.5",
        "[::1]",
        "a..test",
        "-a.test",
        "a b.test",
        "docs.test:80",
        "a" * 64 + ".test",
        ".".join(["a" * 60] * 5),
        "x.localhost",
        "x.onion",
        "a/b.test",
        "en-wikipedia--on--ipfs-org",
        "x" * 10_000,
    ],
)
async def test_no_question_for_what_is_no_domain(name: str, zone: Zone, txt: TxtResolver) -> None:
    with pytest.raises(NameNotFound) as raised:
        await DnsLinkNames(txt).resolve(name)
    assert zone.asked == []
    assert len(str(raised.value)) < 500


async def test_the_map_of_the_operator_needs_no_dns(zone: Zone, txt: TxtResolver) -> None:
    given = {"docs.test": f"/ipfs/{CID}/a%20b", "bare": f"/ipfs/{CID}", "bücher.test": "/ipns/docs.test"}
    names = DnsLinkNames(txt, parse_overrides(given))
    # Kubo states no TTL for these, so that nobody keeps them.
    assert await names.resolve("DOCS.test.") == ResolvedName(ContentPath("ipfs", CID, ("a%20b",)), None)
    assert (await names.resolve("bare")).path.root == CID
    path = ContentPath.parse("/ipns/xn--bcher-kva.test/x")
    assert await resolve_names(names, path) == (ContentPath("ipfs", CID, ("a%20b", "x")), None)
    assert zone.asked == []


@pytest.mark.parametrize("wrong", [{"a..b": f"/ipfs/{CID}"}, {"docs.test": "/ipfs/x"}])
def test_a_wrong_map_is_said(wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidPath, match="IPFS_NS_MAP"):
        parse_overrides(wrong)


async def test_links_that_point_on_keep_their_paths_and_the_shortest_ttl(
    zone: Zone, txt: TxtResolver
) -> None:
    # The example of the DNSLink gateway spec, "Host".
    zone.put("_dnslink.a.test", "dnslink=/ipns/b.test/path-b")
    zone.put("_dnslink.b.test", f"dnslink=/ipfs/{CID}/path-c")
    zone.aliases["_dnslink.www.test"] = "_dnslink.a.test"
    path, ttl = await resolve_names(DnsLinkNames(txt), ContentPath.parse("/ipns/www.test/path-a/"))
    assert str(path) == f"/ipfs/{CID}/path-c/path-b/path-a/"
    assert ttl == 60


async def test_links_in_a_circle_end(zone: Zone, txt: TxtResolver) -> None:
    zone.put("_dnslink.a.test", "dnslink=/ipns/b.test/x")
    zone.put("_dnslink.b.test", "dnslink=/ipns/a.test/y")
    with pytest.raises(NameRecursion):
        await resolve_names(DnsLinkNames(txt), ContentPath.parse("/ipns/a.test"))
    assert len(zone.asked) == 33


async def test_a_chain_as_long_as_allowed(zone: Zone, txt: TxtResolver) -> None:
    for n in range(1, 32):
        zone.put(f"_dnslink.n{n}.test", f"dnslink=/ipns/n{n + 1}.test")
    zone.put("_dnslink.n32.test", f"dnslink=/ipfs/{CID}")
    path, _ = await resolve_names(DnsLinkNames(txt), ContentPath.parse("/ipns/n1.test"))
    assert path.root == CID
    zone.put("_dnslink.n0.test", "dnslink=/ipns/n1.test")
    with pytest.raises(NameRecursion):
        await resolve_names(DnsLinkNames(txt), ContentPath.parse("/ipns/n0.test"))


async def test_names_are_lower_case_in_the_question() -> None:
    asked: list[str] = []

    class Noting:
        async def lookup(self, name: str) -> TxtAnswer:
            asked.append(name)
            return TxtAnswer((f"dnslink=/ipfs/{CID}".encode(),), 5)

    await DnsLinkNames(Noting()).resolve("EXAMPLE.Org.")
    assert asked == ["_dnslink.example.org"]
