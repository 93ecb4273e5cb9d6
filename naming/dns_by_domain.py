"""Which DNS server is asked for which domain: the shape of Kubo's DNS.Resolvers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp

from naming.dns import DnsLookups, TxtAnswer, TxtResolver
from naming.dns_servers import DnsServer, HttpsServer, SystemServers
from naming.guarded_dns import LOOKUP_PART, GuardedDns

_PORT = 53
# Connections to all servers behind HTTPS.
_CONNECTIONS = 32


class ByDomain:
    """Each name asked where its longest listed domain says; `""` stands for all other names."""

    def __init__(self, resolvers: Mapping[str, TxtResolver]) -> None:
        self._resolvers = resolvers

    async def lookup(self, name: str) -> TxtAnswer:
        domain = name
        while domain and domain not in self._resolvers:
            domain = domain.partition(".")[2]
        return await self._resolvers[domain].lookup(name)


@asynccontextmanager
async def open_dns(
    servers: Mapping[str, str], *, timeout: float, fail_max: int = 5, rest: float = 60.0
) -> AsyncGenerator[TxtResolver, None]:
    """Lookups of at most `timeout` seconds, by domain (`eth`, or `""` for all others).

    A server is `udp://<address>[:port]`, the https:// URL of a DNS over HTTPS service, or empty for
    those of this machine. Nothing is asked before the first lookup.
    """
    jar = aiohttp.DummyCookieJar()
    connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=jar) as session:
        guarded: dict[str, TxtResolver] = {}
        for server in {"", *servers.values()}:
            lookups = _lookups(server, session, timeout * LOOKUP_PART)
            what = server or "the DNS of this machine"
            guarded[server] = GuardedDns(lookups, what, timeout=timeout, fail_max=fail_max, rest=rest)
        yield ByDomain({"": guarded[""]} | {domain: guarded[server] for domain, server in servers.items()})


def _lookups(server: str, session: aiohttp.ClientSession, timeout: float) -> DnsLookups:
    if not server:
        return DnsLookups(SystemServers(), timeout)
    parts = urlsplit(server)
    if parts.scheme != "udp":
        return DnsLookups(lambda: [HttpsServer(session, server)], timeout)
    address, port = parts.hostname or "", parts.port or _PORT
    return DnsLookups(lambda: [DnsServer(address, port)], timeout)
