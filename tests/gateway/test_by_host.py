"""Requests by their host, over HTTP: subdomains, websites under their own names, proxies, tunnels."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio

from gateway.forwarded import Proxies
from gateway.hosts import HostRules, Hosts
from gateway.subdomains import root_of_label
from ipld.blocks import Block
from ipld.cid import DAG_JSON, DAG_PB, Cid
from ipld.errors import NameNotFound, NameUnavailable
from ipld.names import ResolvedName
from ipld.paths import ContentPath
from tests.gateway.gateways import Answer, Running, running

KEY = "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8"
PEER_ID = str(Cid.parse(KEY).encode("base58btc"))
LONG = str(Cid.of(b"long", hash="sha2-512"))

HOSTS = Hosts(
    {
        "gw.example": HostRules(subdomains=True),
        "inline.example": HostRules(subdomains=True, inline_dnslink=True),
        "ipfs-only.example": HostRules(paths=("/ipfs",), subdomains=True),
        "plain.example": HostRules(),
        "bare.example": HostRules(subdomains=True, deserialized=False),
        "down.gw.example": HostRules(),
    },
    sites=["*.site.example", "down.example"],
)


class Names:
    """Names that were fixed beforehand; counts what it is asked."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.asked: list[str] = []

    async def resolve(self, name: str) -> ResolvedName:
        self.asked.append(name)
        if name.startswith("down."):
            raise NameUnavailable("the name server does not answer")
        if name not in self.known:
            raise NameNotFound(f"no DNSLink for {name}")
        return ResolvedName(ContentPath.parse(self.known[name]), 60)


class Website:
    """A running gateway with one small website."""

    def __init__(self, gate: Running, names: Names, cid: str) -> None:
        self.gate, self.names, self.cid = gate, names, cid

    async def get(self, host: str, target: str = "/", **headers: str) -> Answer:
        return await self.gate.get(target, Host=host, **headers)


def proxies() -> Proxies:
    return Proxies([ipaddress.ip_network("127.0.0.0/8")])


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Website]:
    names = Names()
    async with running(hosts=HOSTS, names=names, proxies=proxies()) as gate:
        files = [("hello", b"hello"), ("ipfs/file.txt", b"inside"), ("ą/ę/f.txt", b"deep")]
        cid = (await gate.post_form(files)).cid
        names.known = {
            "www.site.example": f"/ipfs/{cid}",
            KEY: f"/ipfs/{cid}",
            "inner.example": f"/ipfs/{cid}",
        }
        yield Website(gate, names, cid)


async def test_a_content_root_has_an_origin_of_its_own(site: Website) -> None:
    host = f"{site.cid}.ipfs.gw.example"
    assert (await site.get(host, "/hello")).body == b"hello"
    # Twice: the second one comes out of the memory for answers.
    found = await site.get(host, "/hello")
    assert (found.body, found.headers["X-Ipfs-Path"]) == (b"hello", f"/ipfs/{site.cid}/hello")
    assert "immutable" in found.headers["Cache-Control"]
    # No namespace is mounted on it.
    assert (await site.get(host, "/ipfs/file.txt")).body == b"inside"
    assert (await site.get(host, f"/ipfs/{site.cid}/hello")).status == 404
    assert (await site.get(host, "/healthz")).status == 404
    assert (await site.get(f"{site.cid.upper()}.IPFS.gw.EXAMPLE", "/hello")).body == b"hello"


async def test_what_a_subdomain_was_given_is_given_nowhere_else(site: Website) -> None:
    host = f"{site.cid}.ipfs.gw.example"
    assert (await site.get(host, "/hello")).status == 200
    assert (await site.get("127.0.0.1", "/hello")).status == 404
    assert (await site.get("www.site.example", "/ipfs/file.txt")).status == 200
    other = await site.gate.put("x", b"other")
    assert (await site.get(f"{other}.ipfs.gw.example", "/hello")).status != 200
    for target in (f"//{host}/hello", f"/{host}/hello", f"{host}/hello"):
        raw = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        assert b" 200 " not in (await site.gate.raw(raw.encode())).split(b"\r\n")[0]


async def test_listings_link_to_the_gateway(site: Website) -> None:
    page = (await site.get(f"{site.cid}.ipfs.gw.example:81", "/%C4%85/%C4%99/")).text
    assert f'/ipfs/<a href="//gw.example:81/ipfs/{site.cid}">{site.cid}</a>/' in page
    assert '<a href="/%C4%85/%C4%99/..">..</a>' in page
    assert 'href="/%C4%85/%C4%99/f.txt"' in page
    page = (await site.get("www.site.example", "/%C4%85/")).text
    assert '/ipns/<a href="//www.site.example/">www.site.example</a>/' in page
    assert 'href="https://cid.ipfs.tech/#' in page
    # Neither of them is what the other kind of host is given.
    assert (
        f'<a href="/ipfs/{site.cid}/%C4%85/..">..</a>'
        in (await site.get("127.0.0.1", f"/ipfs/{site.cid}/%C4%85/")).text
    )


def dag_json(text: str) -> Block:
    return Block(Cid.of(text.encode(), DAG_JSON), text.encode())


@pytest.mark.parametrize("host", ["{cid}.ipfs.gw.example:81", "dag.site.example"])
async def test_pages_of_data_link_to_where_it_is(site: Website, host: str) -> None:
    linked = Cid.of(b"linked")
    inner = dag_json(f'{{"a":[{{"/":"{linked}"}}]}}')
    outer = dag_json(f'{{"b":{{"/":"{inner.cid}"}}}}')
    await site.gate.add_blocks(inner, outer)
    site.names.known["dag.site.example"] = f"/ipfs/{outer.cid}"
    name = host.format(cid=outer.cid)
    page = (await site.get(name, "/b/", Accept="text/html")).text
    # Nothing is mounted on these hosts.
    assert 'href="/ipfs/' not in page
    if host.startswith("{cid}"):
        assert f'href="//gw.example:81/ipfs/{outer.cid}">{outer.cid}</a>/' in page
        assert f'href="//gw.example:81/ipfs/{outer.cid}/b">b</a>' in page
        assert f'href="//gw.example:81/ipfs/{linked}">' in page
    else:
        assert (
            '/ipns/<a href="//dag.site.example/">dag.site.example</a>/<a href="//dag.site.example/b">b</a>'
            in page
        )
        assert f'href="https://cid.ipfs.tech/#{linked}" target="_blank"' in page


async def test_directories_get_their_slash_on_their_own_host(site: Website) -> None:
    found = await site.get(f"{site.cid}.ipfs.gw.example", "/ipfs?a=b%20c")
    assert (found.status, found.headers["Location"]) == (301, "/ipfs/?a=b%20c")
    # `//ipfs` would be another host.
    found = await site.get(f"{site.cid}.ipfs.gw.example", "//ipfs")
    assert found.headers["Location"] == "/ipfs/"


@pytest.mark.parametrize("slashes", ["/", "//"])
async def test_paths_are_redirected_to_subdomains(site: Website, slashes: str) -> None:
    found = await site.get("gw.example:8080", f"{slashes}ipfs{slashes}{site.cid}/%C4%85/x+y?q=%2F&r=1")
    assert found.status == 301
    assert found.headers["Location"] == f"http://{site.cid}.ipfs.gw.example:8080/%C4%85/x+y?q=%2F&r=1"
    assert f"{site.cid}.ipfs.gw.example:8080" in found.text
    found = await site.get("gw.example", f"/ipfs/{site.cid}")
    assert found.headers["Location"] == f"http://{site.cid}.ipfs.gw.example/"


async def test_cidv0_is_redirected_to_cidv1(site: Website) -> None:
    v0 = str(Cid.decode(Cid.parse(site.cid).multihash))
    for host, target in (("gw.example", f"/ipfs/{v0}/hello"), (f"{v0}.ipfs.gw.example", "/hello")):
        found = await site.get(host, target)
        assert (found.status, found.headers["Location"]) == (
            301,
            f"http://{site.cid}.ipfs.gw.example/hello",
        )


@pytest.mark.parametrize(
    ("host", "target", "status", "text"),
    [
        ("gw.example", "/ipfs/QmInvalidCID", 400, 'invalid path "/ipfs/QmInvalidCID"'),
        ("gw.example", f"/ipfs/{LONG}/", 400, "CID incompatible with DNS label length limit of 63"),
        (f"{LONG}.ipfs.gw.example", "/", 400, "CID incompatible with DNS label length limit of 63"),
        ("qminvalid.ipfs.gw.example", "/", 400, "invalid path"),
        ("ipfs-only.example", f"/ipns/{KEY}", 404, "does not serve ipns paths"),
        (f"{KEY}.ipns.ipfs-only.example", "/", 404, "does not serve"),
        ("a b", "/", 400, "Host header"),
        ("x" * 10_000, "/", 400, ""),
        ("bücher.example", "/", 400, "Host header"),
        ("down.example", "/", 502, "does not answer"),
    ],
)
async def test_refused(site: Website, host: str, target: str, status: int, text: str) -> None:
    raw = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    answer = await site.gate.raw(raw.encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
    assert text.encode() in answer


@pytest.mark.parametrize(
    "hosts", ["Host: a.example\r\nHost: gw.example\r\n", "Host: a\0b\r\n", "Host: a\x01b\r\n"]
)
async def test_requests_that_could_be_read_in_two_ways(site: Website, hosts: str) -> None:
    answer = await site.gate.raw(f"GET / HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n".encode())
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 ")), answer


async def test_keys_have_one_subdomain(site: Website) -> None:
    for form in (KEY, PEER_ID):
        found = await site.get("gw.example", f"/ipns/{form}/hello")
        assert (found.status, found.headers["Location"]) == (301, f"http://{KEY}.ipns.gw.example/hello")
    found = await site.get(f"{KEY}.ipns.gw.example", "/hello")
    assert (found.body, found.headers["Cache-Control"]) == (b"hello", "public, max-age=60")


@pytest.mark.parametrize(
    ("host", "forwarded", "expected"),
    [
        ("gw.example", "http", "http://inner.example.ipns.gw.example/a"),
        ("gw.example", "https", "https://inner-example.ipns.gw.example/a"),
        ("inline.example", "http", "http://inner-example.ipns.inline.example/a"),
    ],
)
async def test_dnslink_names_are_inlined_for_tls(
    site: Website, host: str, forwarded: str, expected: str
) -> None:
    found = await site.get(host, "/ipns/inner.example/a", X_Forwarded_Proto=forwarded)
    assert (found.status, found.headers["Location"]) == (301, expected)


async def test_inlined_names_are_understood(site: Website) -> None:
    for label in ("inner.example", "inner-example"):
        assert (await site.get(f"{label}.ipns.gw.example", "/hello")).body == b"hello"
    found = await site.get(f"{'a' * 60}.example.ipns.gw.example", "/hello")
    assert found.status == 404
    found = await site.get("gw.example", f"/ipns/{'a' * 60}.example/", X_Forwarded_Proto="https")
    assert found.status == 400


async def test_proxies_name_the_host_and_the_scheme(site: Website) -> None:
    forwarded = {"X_Forwarded_Host": "fake.example, gw.example", "X_Forwarded_Proto": "https"}
    found = await site.get("10.0.0.1", f"/ipfs/{site.cid}", **forwarded)
    assert found.headers["Location"] == f"https://{site.cid}.ipfs.gw.example/"
    assert (
        await site.get("10.0.0.1", "/hello", X_Forwarded_Host=f"{site.cid}.ipfs.gw.example")
    ).body == b"hello"


async def test_nobody_else_does(site: Website) -> None:
    async with running(hosts=HOSTS, proxies=Proxies([ipaddress.ip_network("192.0.2.0/24")])) as gate:
        cid = await gate.put("x", b"x")
        found = await gate.get(f"/ipfs/{cid}", Host="10.0.0.1", X_Forwarded_Host="gw.example")
        assert found.status == 200
        found = await gate.get(f"/ipfs/{cid}", Host="gw.example", X_Forwarded_Proto="https")
        assert found.headers["Location"].startswith("http://")


async def test_a_website_under_its_own_name(site: Website) -> None:
    found = await site.get("www.site.example", "/hello")
    assert (found.body, found.headers["X-Ipfs-Path"]) == (b"hello", "/ipns/www.site.example/hello")
    assert found.headers["Cache-Control"] == "public, max-age=60"
    assert (await site.get("www.site.example:8080", "/ipfs/file.txt")).body == b"inside"
    # A name without a DNSLink is a name of the gateway.
    assert (await site.get("other.site.example", f"/ipfs/{site.cid}/hello")).body == b"hello"
    assert (await site.get("other.site.example", "/version")).status == 200


async def test_hosts_that_nobody_listed_cost_no_query(site: Website) -> None:
    for host in ("unknown.example", "127.0.0.1", "[::1]", "localhost", f"{site.cid}.ipfs.unknown.example"):
        assert (await site.get(host, f"/ipfs/{site.cid}/hello")).status == 200
    assert site.names.asked == []


async def test_strict_hosts_answer_for_themselves_only() -> None:
    hosts = Hosts({"gw.example": HostRules()}, sites=["www.site.example"], strict=True)
    async with running(hosts=hosts, names=Names()) as gate:
        cid = (await gate.write("PUT", "/ipfs/x", b"x", Host="gw.example")).cid
        assert (await gate.get(f"/ipfs/{cid}", Host="gw.example")).status == 200
        for host in ("unknown.example", "127.0.0.1", "www.site.example"):
            found = await gate.get(f"/ipfs/{cid}", Host=host)
            assert (found.status, host in found.text) == (404, True)
        # Load balancers ask by address.
        assert (await gate.get("/healthz", Host="127.0.0.1")).status == 200


async def test_what_is_not_there_says_where_to_look(site: Website) -> None:
    found = await site.get("127.0.0.1", "/nothing")
    assert (found.status, "content is at /ipfs/<cid>" in found.text) == (404, True)
    found = await site.gate.write("POST", "/version")
    assert (found.status, "which takes GET, HEAD" in found.text) == (405, True)


async def test_subdomains_are_read_only(site: Website) -> None:
    host = f"{site.cid}.ipfs.gw.example"
    found = await site.gate.write("PUT", "/x", b"x", Host=host)
    assert (found.status, found.headers["Allow"]) == (405, "GET,HEAD,OPTIONS")
    assert "websites: they are read only" in found.text
    found = await site.gate.ask("OPTIONS", "/x", {"Host": host})
    assert (found.status, found.headers["Access-Control-Allow-Origin"]) == (200, "*")
    assert (await site.gate.ask("HEAD", "/hello", {"Host": host})).headers["Content-Length"] == "5"
    # The gateway's own host still takes uploads.
    assert (await site.gate.write("PUT", "/ipfs/x", b"x", Host="gw.example")).status == 201


async def test_rules_of_a_gateway_hold_for_its_subdomains(site: Website) -> None:
    assert (await site.get(f"{site.cid}.ipfs.gw.example", "/hello")).status == 200
    host = f"{site.cid}.ipfs.bare.example"
    assert (await site.get(host, "/hello")).status == 400
    assert (await site.get(host, "/?format=raw")).status == 200


@pytest.mark.parametrize(
    ("target", "status", "location"),
    [
        ("/ipfs/?uri=ipfs%3A%2F%2F{cid}%2Fa%20b%3Fq%3D1", 301, "/ipfs/{cid}/a%20b?q=1"),
        ("/ipns/?uri=ipns%3A%2F%2Fen.example", 301, "/ipns/en.example"),
        ("/ipfs/?uri=https%3A%2F%2Fevil.example", 400, None),
        ("/ipfs/?uri=ipfs%3A%2F%2FQmInvalid", 400, None),
        ("/ipfs/?uri=ipfs%3A%2F%2F%5Bx", 400, None),
        ("/ipfs/ipfs/{cid}/hello?a=%20", 301, "/ipfs/{cid}/hello?a=%20"),
        ("/ipns/ipfs/{cid}", 301, "/ipfs/{cid}"),
        ("/ipfs/ipns/en.example/x", 301, "/ipns/en.example/x"),
        ("/ipfs/ipfs/nonsense", 400, None),
        ("/ipns/{peer}/hello?x", 302, "/ipns/{key}/hello?x"),
    ],
)
async def test_addresses_that_lead_elsewhere(
    site: Website, target: str, status: int, location: str | None
) -> None:
    parts: Mapping[str, str] = {"cid": site.cid, "peer": PEER_ID, "key": KEY}
    found = await site.get("127.0.0.1", target.format(**parts))
    assert found.status == status
    assert found.headers.get("Location") == (location and location.format(**parts))


async def test_a_subdomain_may_have_a_parameter_named_uri(site: Website) -> None:
    assert (await site.get(f"{site.cid}.ipfs.gw.example", "/ipfs/?uri=ipfs://x")).status == 200


async def test_service_workers_rule_over_no_more_than_their_content(site: Website) -> None:
    worker = {"Service_Worker": "script"}
    file = await site.gate.put("w.js", b"self")
    for target in (f"/ipfs/{file}", f"/ipns/{KEY}"):
        found = await site.get("127.0.0.1", target, **worker)
        assert (found.status, "registration is not allowed" in found.text) == (400, True)
    assert (await site.get("127.0.0.1", f"/ipfs/{site.cid}/hello", **worker)).status == 200
    assert (await site.get(f"{file}.ipfs.gw.example", "/", **worker)).status == 200


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_absolute_targets_name_the_host(site: Website, version: str) -> None:
    target = f"http://{site.cid}.ipfs.gw.example:99/hello?x=1"
    raw = f"GET {target} HTTP/{version}\r\nHost: ignored.example\r\nConnection: close\r\n\r\n"
    answer = await site.gate.raw(raw.encode())
    assert answer.split(b"\r\n")[0].endswith(b" 200 OK")
    assert answer.endswith(b"\r\n\r\nhello")
    target = f"http://gw.example:99/ipfs/{site.cid}/a%2Fb"
    raw = f"GET {target} HTTP/{version}\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await site.gate.raw(raw.encode())
    assert f"Location: http://{site.cid}.ipfs.gw.example:99/a%2Fb\r\n".encode() in answer


@pytest.mark.parametrize("host", ["xn--", "xn--a", "xn--0.localhost", "bafkqaaa.ipfs.xn--a.localhost"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_absolute_targets_whose_host_cannot_be_read_are_answered(
    site: Website, host: str, method: str
) -> None:
    end = "HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await site.gate.raw(f"{method} http://{host}/ipfs/{site.cid}/hello?a=%2f {end}".encode())
    # No host of this gateway, and no key either.
    assert answer.startswith(b"HTTP/1.1 404 " if method == "GET" else b"HTTP/1.1 401 ")


async def test_what_is_not_here_is_named_by_its_content_path(site: Website) -> None:
    missing = Cid.of(b"nowhere", DAG_PB)
    found = await site.get(f"{missing}.ipfs.gw.example", "/a%20b", Cache_Control="only-if-cached")
    assert (found.status, found.text) == (412, f"/ipfs/{missing}/a%20b not in local datastore\n")


async def test_names_of_one_label_keep_their_hyphens(site: Website) -> None:
    """Those of IPFS_NS_MAP: each hyphen of a label would be a dot."""
    for name, label in (("my-app", "my--app"), ("app", "app"), ("a-b.example", "a-b.example")):
        found = await site.get("gw.example", f"/ipns/{name}/x")
        assert found.headers["Location"] == f"http://{label}.ipns.gw.example/x"
    assert root_of_label("ipns", "my--app") == "my-app"


# As `curl --proxytunnel --proxy1.0` does it: the connection of HTTP/1.0 stays where the client asks for that.
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_tunnel_ends_here(site: Website, version: str) -> None:
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.gate.port)
        stays = "Host: gw.example:80\r\nProxy-Connection: Keep-Alive\r\n\r\n"
        writer.write(f"CONNECT gw.example:80 HTTP/{version}\r\n{stays}".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(f"HTTP/{version} 200 ".encode())
        assert b"\r\ncontent-length:" not in head.lower()
        assert b"\r\ntransfer-encoding:" not in head.lower()
        host = f"{site.cid}.ipfs.gw.example"
        for _ in range(2):
            writer.write(f"GET /hello HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert b"Content-Length: 5" in await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(5) == b"hello"
        writer.close()


async def test_absolute_targets_name_the_scheme(site: Website) -> None:
    raw = f"GET HTTPS://gw.example/ipfs/{site.cid} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert f"Location: https://{site.cid}.ipfs.gw.example/\r\n".encode() in await site.gate.raw(raw.encode())


async def test_a_tunnel_for_tls_is_refused(site: Website) -> None:
    raw = b"CONNECT gw.example:443 HTTP/1.1\r\nHost: gw.example:443\r\nConnection: close\r\n\r\n"
    answer = await site.gate.raw(raw)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"plain HTTP" in answer


async def test_a_request_names_its_host(site: Website) -> None:
    for version, status in (("1.1", b"400"), ("1.0", b"200")):
        for _ in range(2):
            raw = f"GET /ipfs/{site.cid}/hello HTTP/{version}\r\nConnection: close\r\n\r\n"
            assert (await site.gate.raw(raw.encode())).split(b" ")[1] == status


async def test_hot_content_is_no_exception_to_one_host(site: Website) -> None:
    target = f"/ipfs/{site.cid}/hello"
    assert (await site.get("a.example", target)).status == 200
    raw = f"GET {target} HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\nConnection: close\r\n\r\n"
    assert (await site.gate.raw(raw.encode())).split(b" ")[1] == b"400"


async def test_a_listed_host_is_healthy_without_a_name_server(site: Website) -> None:
    assert (await site.get("down.gw.example", "/")).status == 502
    assert (await site.get("down.gw.example", "/healthz")).status == 200
    assert (await site.get("down.gw.example", f"/ipfs/{site.cid}/hello")).status == 200


async def test_the_log_names_the_website(site: Website) -> None:
    host = f"{site.cid}.ipfs.gw.example"
    for _ in range(2):
        assert (await site.get(host, "/hello")).status == 200
    assert (await site.get("www.site.example:81", "/hello")).status == 200
    assert (await site.get("gw.example", "/version")).status == 200
    await asyncio.sleep(0.5)
    lines = site.gate.log.getvalue().splitlines()
    targets = [line.split(" ")[3] for line in lines if " GET " in line]
    assert targets == [f"//{host}/hello"] * 2 + ["//www.site.example:81/hello", "/version"]
