"""What a Host header stands for (subdomain gateway spec; Kubo's Gateway.PublicGateways)."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.host_names import HostName
from gateway.hosts import LOCALHOST, MAX_REMEMBERED, HostRules, Hosts, Kind
from gateway.redirects import as_sent
from gateway.refusals import BadRequest
from gateway.subdomains import RootedPath, canonical_label, root_of_label, subdomain_url
from ipld.cid import DAG_PB, LIBP2P_KEY, Cid

V1 = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
V0 = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n"
V0_AS_V1 = "bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
KEY = "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8"
LONG = str(Cid.of(b"long", hash="sha2-512"))

GATEWAY = HostRules(subdomains=True)
HOSTS = Hosts(
    {
        **LOCALHOST,
        "gw.example": GATEWAY,
        "*.wild.example": GATEWAY,
        "foo-*.part.example": GATEWAY,
        "off.wild.example": None,
        "only.example": HostRules(paths=("/ipfs/",), subdomains=True, dnslink=False),
        "ported.example:81": HostRules(deserialized=False),
        "plain.example": HostRules(),
        "192.0.2.1": GATEWAY,
    },
    sites=["site.example", "*.sites.example"],
)


@pytest.mark.parametrize(
    ("host", "kind", "root"),
    [
        (None, Kind.PATH, ""),
        ("", Kind.PATH, ""),
        ("127.0.0.1:8080", Kind.PATH, ""),
        ("[::1]:8080", Kind.PATH, ""),
        ("unknown.example", Kind.PATH, ""),
        ("localhost:8080", Kind.LISTED, ""),
        ("LOCALHOST.", Kind.LISTED, ""),
        ("gw.example", Kind.LISTED, "gw.example"),
        ("Gw.Example.:443", Kind.LISTED, "gw.example"),
        ("only.example", Kind.LISTED, ""),
        ("192.0.2.1:80", Kind.LISTED, ""),
        ("a.wild.example", Kind.LISTED, "a.wild.example"),
        ("a.b.wild.example", Kind.PATH, ""),
        ("off.wild.example", Kind.PATH, ""),
        ("foo-1.part.example", Kind.LISTED, "foo-1.part.example"),
        ("foo-.part.example", Kind.PATH, ""),
        ("site.example:8080", Kind.SITE, "site.example"),
        ("a.sites.example", Kind.SITE, "a.sites.example"),
        (f"{V1}.ipfs.gw.example", Kind.SUBDOMAIN, V1),
        (f"{V1.upper()}.IPFS.GW.EXAMPLE.:80", Kind.SUBDOMAIN, V1),
        (f"{V1}.ipfs.a.wild.example", Kind.SUBDOMAIN, V1),
        (f"{V1}.ipfs.foo-x.part.example", Kind.SUBDOMAIN, V1),
        (f"{V1}.ipfs.localhost:8080", Kind.SUBDOMAIN, V1),
        (f"{V1}.ipfs.off.wild.example", Kind.PATH, ""),
        (f"{V1}.ipfs.plain.example", Kind.UNKNOWN, ""),
        (f"{V1}.ipfs.unknown.example", Kind.PATH, ""),
        (f"{V1}.ipfs.192.0.2.1", Kind.UNKNOWN, ""),
        (f"{KEY}.ipns.gw.example", Kind.SUBDOMAIN, KEY),
        (f"{KEY}.ipns.only.example", Kind.UNKNOWN, ""),
        ("en.wiki-pedia.org.ipns.gw.example", Kind.SUBDOMAIN, "en.wiki-pedia.org"),
        ("en-wiki--pedia-org.ipns.gw.example", Kind.SUBDOMAIN, "en.wiki-pedia.org"),
        ("ipfs.gw.example", Kind.PATH, ""),
        ("x.p2p.gw.example", Kind.PATH, ""),
    ],
)
def test_hosts(host: str | None, kind: Kind, root: str) -> None:
    origin = HOSTS.of(host)
    assert (origin.kind, origin.root) == (kind, root)


def test_links_lead_to_the_host_of_the_gateway() -> None:
    assert HOSTS.of(f"{V1}.ipfs.GW.example:81").host == "gw.example:81"


@pytest.mark.parametrize(
    ("host", "label"),
    [
        (f"{V0}.ipfs.gw.example", V0_AS_V1),
        (f"{Cid.parse(V1).encode('base36')}.ipfs.gw.example", V1),
        (f"{Cid.parse(V1).encode('base58btc')}.ipfs.gw.example", V1),
        (f"{Cid.parse(KEY).encode('base32')}.ipns.gw.example", KEY),
        (
            f"{Cid.decode(bytes([1, DAG_PB]) + Cid.parse(KEY).multihash).encode('base36')}.ipns.gw.example",
            KEY,
        ),
    ],
)
def test_other_forms_of_a_root_are_moved_to_the_one_that_has_an_origin(host: str, label: str) -> None:
    origin = HOSTS.of(host)
    assert (origin.kind, origin.label, origin.moved) == (Kind.SUBDOMAIN, label, True)
    assert origin.key is None


@pytest.mark.parametrize(
    "host",
    [
        "a b",
        "a\0b",
        "a_b.example/x",
        "user@gw.example",
        "gw.example:65536",
        "gw.example:8x",
        "gw..example",
        ".gw.example",
        "gw.example..",
        "bücher.example",
        "[::1",
        "[gw.example]",
        "[1.2.3.4.5]",
        "x" * 513,
        "a." * 5000,
        "\udcff",
        "*.wild.example",
        "gw.example\r\nX: y",
    ],
)
def test_what_is_no_host_name_is_refused(host: str) -> None:
    with pytest.raises(BadRequest):
        HOSTS.of(host)


def test_a_root_that_fits_into_no_label_is_refused() -> None:
    with pytest.raises(BadRequest, match="CID incompatible with DNS label length limit of 63"):
        HOSTS.of(f"{LONG}.ipfs.gw.example")


def test_base36_where_base32_is_too_long() -> None:
    inlined = Cid.decode(bytes([1, LIBP2P_KEY]) + Cid.parse(KEY).multihash)
    assert len(str(inlined)) > 63
    assert canonical_label("ipfs", str(inlined)) == KEY


def test_strict_hosts() -> None:
    hosts = Hosts({"gw.example": GATEWAY}, sites=["site.example"], strict=True)
    for host in (None, "127.0.0.1", "unknown.example", "localhost"):
        assert hosts.of(host).kind is Kind.UNKNOWN
    assert hosts.of("gw.example").kind is Kind.LISTED
    assert hosts.of("site.example").kind is Kind.SITE


def test_any_site_is_any_full_name() -> None:
    hosts = Hosts(any_site=True)
    assert hosts.of("whatever.example").kind is Kind.SITE
    for host in ("127.0.0.1", "[::1]", "intranet", "localhost"):
        assert hosts.of(host).kind is not Kind.SITE


def test_answers_are_shared_only_where_hosts_serve_the_same() -> None:
    keys = [
        HOSTS.of(host).key
        for host in ("a.example", "plain.example", "gw.example", "ported.example:81", f"{V1}.ipfs.gw.example")
    ]
    assert keys == ["", "", None, "verifiable\n", f"{V1}.ipfs.gw.example\n"]
    site = HOSTS.of("site.example")
    assert (site.key, site.without_root().key) == ("site.example\n", "")
    listed = HOSTS.of("plain.example:81")
    assert (listed.as_website().key, listed.without_root().key) == ("plain.example:81\n", "")
    assert HOSTS.of(f"{KEY}.ipns.gw.example").key == f"{KEY}.ipns.gw.example\n"
    assert Hosts(deserialized=False).of("a.example").key == "verifiable\n"
    # The port alone may be listed: another one has other rules.
    assert HOSTS.of("ported.example").key == ""


def test_memory_for_hosts_is_bounded() -> None:
    hosts = Hosts()
    for number in range(MAX_REMEMBERED + 10):
        hosts.of(f"h{number}.example")
    assert len(hosts._known) <= MAX_REMEMBERED


@given(st.text(alphabet=string.printable + "é\0", max_size=600))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        name = HostName.parse(text)
    except BadRequest:
        return
    assert HostName.parse(name.lower + name.port) == HostName(name.lower, name.port, name.is_address)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("/ipfs/a", RootedPath("ipfs", "a", "")),
        ("//ipns//a//b%2Fc", RootedPath("ipns", "a", "//b%2Fc")),
        ("/ipfs/", None),
        ("/ipld/a", None),
        ("/", None),
        ("/ipfs/a\n/b", RootedPath("ipfs", "a\n", "/b")),
    ],
)
def test_rooted_paths(raw: str, expected: RootedPath | None) -> None:
    assert RootedPath.split(raw) == expected


def test_paths_and_queries_are_kept_as_they_were_sent() -> None:
    sent = "/a%2Fb/%c4%85/x+y;z=1?q=%20&r=a/b?c"
    assert as_sent(sent) == sent
    assert as_sent("/ą\udcff\x7f") == "/%C4%85%FF%7F"
    assert (
        subdomain_url("https", "l", "ipfs", "gw", "//evil.example/x?y")
        == "https://l.ipfs.gw//evil.example/x?y"
    )


@pytest.mark.parametrize(("label", "root"), [("a-b", "a.b"), ("a.b", "a.b"), ("a", "a"), ("a--b-c", "a-b.c")])
def test_labels_of_domain_names(label: str, root: str) -> None:
    assert root_of_label("ipns", label) == root
    assert root_of_label("ipfs", label) == label
