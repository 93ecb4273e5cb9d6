"""The IPNS part of the wiring: records, their sources elsewhere, and keys of ours."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp

from config.settings import Settings
from naming.delegated_routing import DelegatedRouter
from naming.ipns import IpnsNames
from naming.key_ring import KeyRing
from naming.postgres_named_keys import PostgresNamedKeys
from naming.postgres_records import Pool, PostgresRecords
from naming.publisher import Publisher, Terms
from naming.record_search import RecordSearch, SearchTerms
from naming.remote import Remote, RemoteTerms
from naming.secret_box import SecretBox
from naming.upstream_records import UpstreamRecords

# Of the time that a client has, for the search; the rest is for following the path.
_SEARCH_PART = 0.8
# Of that, for one try at one server.
_TRY_PART = 0.4


@dataclass(frozen=True, slots=True)
class Ipns:
    """Names by key, and who publishes them."""

    names: IpnsNames
    publisher: Publisher


@asynccontextmanager
async def open_ipns(settings: Settings, pool: Pool) -> AsyncGenerator[Ipns, None]:
    """Nobody is asked for a record before the first request for a name."""
    async with AsyncExitStack() as stack:
        # Searches are bounded, and their connections with them. Where two gateways ask each other, questions
        # that waited for a connection might wait for questions that do so there.
        connector = aiohttp.TCPConnector(limit=0)
        session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), headers={"User-Agent": "cidgate"}
        )
        await stack.enter_async_context(session)
        search_seconds = settings.retrieval_timeout * _SEARCH_PART
        terms = RemoteTerms(
            timeout=search_seconds * _TRY_PART,
            fail_max=settings.circuit_breaker_fail_max,
            rest=settings.circuit_breaker_reset_timeout,
        )
        routers = [DelegatedRouter(Remote(session, url, terms)) for url in settings.delegated_routers]
        gateways = [UpstreamRecords(Remote(session, url, terms)) for url in settings.upstream_gateways]
        search_terms = SearchTerms(search_seconds, negative_ttl=settings.names_cache_negative_ttl)
        search = RecordSearch([routers, gateways], search_terms)
        stack.push_async_callback(search.aclose)
        records = PostgresRecords(pool, settings.database_timeout)
        names = IpnsNames(records, search, int(settings.names_cache_max_ttl))
        secret = settings.ipns_key_secret
        box = SecretBox(secret.get_secret_value()) if secret is not None else None
        ring = KeyRing(PostgresNamedKeys(pool, settings.database_timeout), box)
        lasting = Terms(settings.ipns_record_lifetime, settings.ipns_record_ttl)
        yield Ipns(names, Publisher(ring, names, routers, lasting))
