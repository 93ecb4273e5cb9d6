"""Content appears on its own origin only, whatever the path, the target or the headers look like."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from urllib.parse import quote, urlsplit

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from gateway.context import Limits
from gateway.forwarded import Proxies
from gateway.hosts import HostRules, Hosts, Kind
from gateway.refusals import BadRequest
from gateway.subdomains import canonical_label, subdomain_url
from ipld.names import ResolvedName
from ipld.paths import ContentPath
from naming.names import NoNames
from tests.gateway.gateways import Running, running

HOSTS = Hosts(
    {
        "gw.example": HostRules(subdomains=True),
        "www.example": HostRules(paths=()),
        "empty.example": HostRules(paths=()),
        "files.example": HostRules(paths=("/ipfs/",)),
    },
    sites=["site.example"],
)


class Names(NoNames):
    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    async def resolve(self, name: str) -> ResolvedName:
        if name in self.known:
            return ResolvedName(ContentPath.parse(self.known[name]), 60)
        return await super().resolve(name)


class Website:
    def __init__(self, gate: Running, names: Names, cid: str) -> None:
        self.gate, self.names, self.cid = gate, names, cid

    async def raw(self, target: str, *headers: str) -> tuple[int, dict[str, str], str]:
        lines = "".join(f"{header}\r\n" for header in headers)
        answer = await self.gate.raw(f"GET {target} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
        head, _, body = answer.decode().partition("\r\n\r\n")
        status, *fields = head.split("\r\n")
        named = dict(field.split(": ", 1) for field in fields)
        return int(status.split(" ")[1]), named, body


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Website]:
    names = Names()
    proxies = Proxies([ipaddress.ip_network("127.0.0.0/8")])
    async with running(hosts=HOSTS, names=names, proxies=proxies) as gate:
        files = [("hello", b"hello"), ("ipfs/a", b"inside"), ("ipfs/d/e", b""), ("healthz", b"h")]
        cid = (await gate.post_form(files)).cid
        cid = (await gate.write("PUT", f"/ipfs/{cid}/b%5Cc/d", b"")).cid
        names.known = dict.fromkeys(("www.example", "site.example", "intranet"), f"/ipfs/{cid}")
        yield Website(gate, names, cid)


@pytest.mark.parametrize(
    "name",
    [
        "evil.example?",
        "evil.example#",
        "evil.example\\",
        "evil.example:80\\",
        "evil.example:80",
        "user@evil.example",
        "evil.example\r\nX-Y: 1",
        "evil.example ",
        "[::1]",
        "..",
        ".",
        "a..b",
        "-x.example",
        "%2e.example",
        "a" * 64 + ".example",
    ],
)
async def test_no_name_leads_to_another_host(site: Website, name: str) -> None:
    for forwarded in ("http", "https"):
        status, headers, _ = await site.raw(
            f"/ipns/{quote(name, safe='')}/x", "Host: gw.example", f"X-Forwarded-Proto: {forwarded}"
        )
        assert (status, headers.get("Location"), "X-Y" in headers) == (404, None, False)


@given(st.sampled_from(["ipfs", "ipns"]), st.text(max_size=80) | st.from_regex(r"[a-z0-9.:@?#/\\%-]{1,80}"))
def test_every_subdomain_is_one_of_its_gateway(namespace: str, root: str) -> None:
    try:
        label = canonical_label(namespace, root)
    except BadRequest:
        return
    if label is None:
        return
    url = subdomain_url("http", label, namespace, "gw.example", "/x")
    assert urlsplit(url).netloc == f"{label}.{namespace}.gw.example"
    assert Hosts({"gw.example": HostRules(subdomains=True)}).of(urlsplit(url).netloc).kind is Kind.SUBDOMAIN


async def test_a_name_of_one_label_has_an_origin_too(site: Website) -> None:
    status, headers, _ = await site.raw("/ipns/Intranet/hello", "Host: gw.example")
    assert (status, headers["Location"]) == (301, "http://intranet.ipns.gw.example/hello")
    assert (await site.gate.get("/hello", Host="intranet.ipns.gw.example")).body == b"hello"


async def test_names_of_other_scripts_are_sent_as_dns_has_them(site: Website) -> None:
    _, headers, _ = await site.raw("/ipns/b%C3%BCcher.example/x", "Host: gw.example")
    assert headers["Location"] == "http://xn--bcher-kva.example.ipns.gw.example/x"


async def test_slashes_of_an_absolute_target_make_no_host(site: Website) -> None:
    host = f"{site.cid}.ipfs.gw.example"
    for target in ("//ipfs", f"http://{host}//ipfs", f"http://{host}///ipfs"):
        status, headers, _ = await site.raw(target, f"Host: {host}")
        assert (status, headers["Location"]) == (301, "/ipfs/")


async def test_backslashes_are_no_slashes(site: Website) -> None:
    # Browsers take one for the other.
    status, headers, _ = await site.raw("/b\\c", f"Host: {site.cid}.ipfs.gw.example")
    assert (status, headers["Location"]) == (301, "/b%5Cc/")
    _, headers, _ = await site.raw(f"/ipfs/{site.cid}/\\x", "Host: gw.example")
    assert headers["Location"] == f"http://{site.cid}.ipfs.gw.example/%5Cx"


async def test_of_several_forwarded_headers_the_last_is_the_proxys_own(site: Website) -> None:
    forged = ("X-Forwarded-Host: evil.example", "X-Forwarded-Host: gw.example")
    protocols = ("X-Forwarded-Proto: http", "X-Forwarded-Proto: https")
    _, headers, _ = await site.raw(f"/ipfs/{site.cid}", "Host: x", *forged, *protocols)
    assert headers["Location"] == f"https://{site.cid}.ipfs.gw.example/"


async def test_an_empty_forwarded_host_says_nothing(site: Website) -> None:
    for empty in ("", " ", "x, "):
        status, _, _ = await site.raw(
            f"/ipfs/{site.cid}/hello", "Host: gw.example", f"X-Forwarded-Host: {empty}"
        )
        assert status == 301


async def test_as_a_proxy_it_speaks_for_no_other_host(site: Website) -> None:
    """Who uses it as a proxy asks no DNS, so a link could put any content under any other name."""
    target = f"/ipfs/{site.cid}/hello"
    for host in ("bank.example", "bank.example:80", f"{site.cid}.ipfs.bank.example"):
        for _ in range(2):
            status, _, body = await site.raw(f"http://{host}{target}", f"Host: {host}")
            assert (status, "proxy" in body) == (404, True)
        # Who asks it directly was sent here by the DNS of that host.
        assert (await site.raw(target, f"Host: {host}"))[0] == 200
    for host in (f"127.0.0.1:{site.gate.port}", "[::1]:80", "localhost"):
        assert (await site.raw(f"http://{host}/version", f"Host: {host}"))[0] == 200
    assert (await site.raw("http://site.example/hello", "Host: site.example"))[2] == "hello"
    del site.names.known["site.example"]
    assert (await site.raw(f"http://site.example{target}", "Host: site.example"))[0] == 404


async def test_a_listed_website_has_every_path_that_its_gateway_has_not(site: Website) -> None:
    assert (await site.gate.get("/ipfs/a", Host="www.example")).body == b"inside"
    assert (await site.gate.get(f"/ipfs/{site.cid}/hello", Host="www.example")).status == 404
    found = await site.gate.get(f"/ipfs/{site.cid}/hello", Host="empty.example")
    assert (found.status, "does not serve ipfs paths" in found.text) == (404, True)


async def test_a_website_that_calls_a_file_healthz_is_no_way_around_the_limits() -> None:
    async with running(Limits(requests=1), hosts=HOSTS) as gate:
        cid = (await gate.post_form([("healthz", b"h"), ("x", b"")])).cid
        host = f"{cid}.ipfs.gw.example"
        assert (await gate.get("/healthz", Host=host)).body == b"h"
        with gate.gateway.traffic.request():
            assert (await gate.get("/healthz", Host=host, Range="bytes=0-")).status == 429
            for other in ("gw.example", "10.0.0.1"):
                assert (await gate.get("/healthz", Host=other)).status == 200


async def test_what_is_missing_is_missing_for_long_only_where_nothing_changes(site: Website) -> None:
    policies = {
        host: (await site.gate.get(target, Host=host)).headers["Cache-Control"]
        for host, target in (
            ("127.0.0.1", f"/ipfs/{site.cid}/none"),
            (f"{site.cid}.ipfs.gw.example", "/none"),
            ("site.example", "/ipfs/none"),
        )
    }
    assert list(policies.values()) == ["public, max-age=60", "public, max-age=60", "no-store"]


async def test_many_parameters_beside_a_uri(site: Website) -> None:
    for count, status in ((120, 301), (1200, 400)):
        query = "&".join(f"p{number}" for number in range(count))
        found = await site.gate.get(f"/ipfs/?{query}&uri=ipfs://{site.cid}")
        assert found.status == status, "what comes after the first thousand is not looked at"


async def test_a_uri_needs_no_slash_before_it(site: Website) -> None:
    for target in ("/ipfs?uri=", "/ipfs/?uri=", "/ipns?uri="):
        found = await site.gate.get(f"{target}ipfs:/{site.cid}/x%20y")
        assert (found.status, found.headers.get("Location")) == (301, f"/ipfs/{site.cid}/x%20y")


async def test_a_host_gives_no_answer_of_another_to_a_path_that_it_does_not_serve(site: Website) -> None:
    for _ in range(3):
        assert (await site.gate.get("/ipns/site.example/hello", Host="127.0.0.1")).body == b"hello"
        assert (await site.gate.get("/ipns/site.example/hello", Host="files.example")).status == 404
        assert (await site.gate.get(f"/ipfs/{site.cid}/hello", Host="files.example")).body == b"hello"


async def test_who_wants_no_effort_is_told_nothing_of_a_website_that_would_have_to_be_asked_for() -> None:
    """Were it answered as a host without a website, a cache in front would keep content of anybody for it."""
    asked = Names()
    async with running(hosts=HOSTS, names=asked) as gate:
        cid = await gate.put("x", b"of anybody")
        asked.known = {"site.example": "/ipfs/bafkqaaa", "www.example": "/ipfs/bafkqaaa"}
        for host in asked.known:
            for target in (f"/ipfs/{cid}", "/"):
                found = await gate.get(target, Host=host, Cache_Control="only-if-cached")
                assert (found.status, found.headers["Cache-Control"]) == (412, "no-store")
        # Without a website in question nobody has to be asked.
        for host, target in (("gw.example", "/healthz"), ("10.0.0.1", "/version"), ("plain", f"/ipfs/{cid}")):
            assert (await gate.get(target, Host=host, Cache_Control="only-if-cached")).status == 200


async def test_origins_do_not_share_answers(site: Website) -> None:
    """The same target on each host in turn, while the answers of the others are remembered."""
    other = (await site.gate.post_form([("hello", b"other"), ("x", b"")])).cid
    site.names.known["www.example"] = f"/ipfs/{other}"
    expected = {
        f"{site.cid}.ipfs.gw.example": "hello",
        f"{other}.ipfs.gw.example": "other",
        "site.example": "hello",
        "www.example": "other",
        "gw.example": None,
        "127.0.0.1": None,
    }
    for _ in range(3):
        for host, body in expected.items():
            found = await site.gate.get("/hello", Host=host)
            assert (found.status, found.text if found.status == 200 else None) == (200 if body else 404, body)
        await asyncio.sleep(0)
