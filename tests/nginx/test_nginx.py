"""Behind a proxy that ends TLS, links and redirects are those that the client can follow."""

from __future__ import annotations

import io
import ipaddress
import os
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from gateway.forwarded import Proxies
from gateway.hosts import HostRules, Hosts
from ipld.names import ResolvedName
from ipld.paths import ContentPath
from tests.gateway.gateways import MIB, Running, running
from tests.nginx.proxies import Proxy, nginx, nginx_binary

pytestmark = [
    pytest.mark.needs_nginx,
    pytest.mark.skipif(nginx_binary() is None, reason="no nginx on this machine"),
]
DOMAIN = "gw.example"


class EverythingHere(AbstractResolver):
    """Resolves every name to this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)
        ]

    async def close(self) -> None:
        """Nothing was opened."""


class OneName:
    """Every name leads to one path."""

    path = "/ipfs/bafkqaaa"

    async def resolve(self, name: str) -> ResolvedName:
        return ResolvedName(ContentPath.parse(self.path), 60)


@dataclass
class Front:
    gate: Running
    proxy: Proxy
    client: aiohttp.ClientSession
    names: OneName

    async def get(self, url: str, **headers: str) -> tuple[aiohttp.ClientResponse, bytes]:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        async with self.client.get(URL(url, encoded=True), headers=named, allow_redirects=False) as answer:
            return answer, await answer.read()


@pytest_asyncio.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    names = OneName()
    hosts = Hosts({DOMAIN: HostRules(subdomains=True, dnslink=False)}, sites=["www.site.example"])
    proxies = Proxies([ipaddress.ip_network("127.0.0.1")])
    async with running(hosts=hosts, proxies=proxies, names=names) as gate:
        with nginx(tmp_path, DOMAIN, f"127.0.0.1:{gate.port}") as proxy:
            trust = ssl.create_default_context(cafile=str(proxy.certificate))
            connector = aiohttp.TCPConnector(ssl=trust, resolver=EverythingHere())
            async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as client:
                yield Front(gate, proxy, client, names)


async def test_redirects_and_links_keep_the_scheme_and_the_port(front: Front) -> None:
    base = f"{DOMAIN}:{front.proxy.https}"
    cid = (await front.gate.post_form([("d/a%2Fb", b"x"), ("index.txt", b"y")])).cid
    answer, _ = await front.get(f"https://{base}/ipfs/{cid}/d//?q=%2F%20")
    assert (answer.status, answer.headers["Location"]) == (301, f"https://{cid}.ipfs.{base}/d//?q=%2F%20")
    answer, body = await front.get(f"https://{cid}.ipfs.{base}/")
    assert answer.status == 200
    assert f'href="//{base}/ipfs/{cid}"'.encode() in body
    answer, _ = await front.get(f"https://{cid}.ipfs.{base}/d")
    assert answer.headers["Location"] == "/d/"


async def test_names_fit_into_the_wildcard_certificate(front: Front) -> None:
    base = f"{DOMAIN}:{front.proxy.https}"
    front.names.path = f"/ipfs/{(await front.gate.post_form([('a', b'site'), ('b', b'')])).cid}"
    answer, _ = await front.get(f"https://{base}/ipns/my-site.example.org/a")
    location = f"https://my--site-example-org.ipns.{base}/a"
    assert (answer.status, answer.headers["Location"]) == (301, location)
    answer, body = await front.get(location)
    assert (body, answer.headers["X-Ipfs-Path"]) == (b"site", "/ipns/my-site.example.org/a")


async def test_clients_cannot_name_another_host(front: Front) -> None:
    cid = await front.gate.put("x", b"x")
    forged = {"X_Forwarded_Host": "evil.example", "X_Forwarded_Proto": "http"}
    answer, _ = await front.get(f"https://{DOMAIN}:{front.proxy.https}/ipfs/{cid}", **forged)
    assert answer.headers["Location"].startswith(f"https://{cid}.ipfs.{DOMAIN}:{front.proxy.https}/")


async def test_plain_http_leads_to_https(front: Front) -> None:
    answer, _ = await front.get(f"http://{DOMAIN}:{front.proxy.http}/ipfs/x?y=1")
    assert (answer.status, answer.headers["Location"]) == (308, f"https://{DOMAIN}/ipfs/x?y=1")


async def test_websites_have_their_own_names(front: Front) -> None:
    front.names.path = f"/ipfs/{(await front.gate.post_form([('a', b'site'), ('b', b'')])).cid}"
    answer, body = await front.get(f"http://www.site.example:{front.proxy.http}/a")
    assert (answer.status, body) == (200, b"site")


async def test_uploads_and_downloads_pass_through(front: Front) -> None:
    data = os.urandom(5 * MIB)
    url = URL(f"https://{DOMAIN}:{front.proxy.https}/ipfs/")
    async with front.client.post(url, data=io.BytesIO(data), headers=front.gate.auth) as answer:
        assert answer.status == 201, await answer.text()
        cid = (await answer.json())["cid"]
    target = f"https://{cid}.ipfs.{DOMAIN}:{front.proxy.https}/"
    answer, body = await front.get(target)
    assert body == data
    answer, body = await front.get(target, Range="bytes=1048570-1048580")
    assert (answer.status, body) == (206, data[1048570:1048581])
