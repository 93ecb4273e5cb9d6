"""The one place that names concrete stores, and owns their lifetimes."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from auth.cached import cached_keys
from auth.postgres import PostgresKeys
from cache.blocks import CachedBlocks
from cache.memory import MemoryCache
from cache.names import CachedNames, KeptNames, NameLimits
from cache.redis import RedisBlocks
from config.settings import Settings
from config.structures import PublicGateway
from gateway.answers import Answers
from gateway.content_wiring import open_content
from gateway.context import Gateway, Limits
from gateway.forwarded import Proxies
from gateway.health import program_version
from gateway.hosts import LOCALHOST, HostRules, Hosts
from gateway.ipns_wiring import Ipns, open_ipns
from gateway.metrics import Metrics
from gateway.object_stores import open_objects
from gateway.probes import probes
from gateway.sample import sample_cid
from gateway.sites.files import SiteFiles
from gateway.streaming import SendLimits
from gateway.traffic import Traffic
from ipld.paths import ContentPath, ResolveLimits
from ipld.unixfs.profiles import PROFILES
from naming.dns import NoDns
from naming.dns_by_domain import open_dns
from naming.dnslink import DnsLinkNames, parse_overrides
from naming.ipns import IpnsNames
from naming.names import Names
from storage.database import Pool, open_database
from storage.epochs import Epochs
from storage.packed import PackedBlocks
from storage.postgres_index import PostgresIndex
from storage.reindex import Reindex
from storage.reindex_notes import PostgresNotes

logger = logging.getLogger(__name__)

# The answers that are kept ready take this part of the memory for caches, blocks the rest.
ANSWERS_PART = 0.5


@dataclass(frozen=True, slots=True)
class _Caches:
    """All that remembers content, to be forgotten together."""

    packed: PackedBlocks
    blocks: CachedBlocks
    answers: Answers
    sites: SiteFiles

    def forget(self, epoch: int) -> None:
        self.answers.clear()
        self.sites.clear()
        self.blocks.forget(epoch)
        self.packed.forget()


def _caches(settings: Settings, packed: PackedBlocks, redis: RedisBlocks | None) -> _Caches:
    for_answers = int(settings.cache_memory_bytes * ANSWERS_PART)
    for_blocks: MemoryCache[bytes] = MemoryCache(settings.cache_memory_bytes - for_answers)
    sites = SiteFiles(settings.site_files_bytes)
    return _Caches(packed, CachedBlocks(packed, for_blocks, redis), Answers(for_answers), sites)


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncGenerator[Gateway, None]:
    """Everything that a gateway needs, open until the block is left; closed in reverse order."""
    _name_what_is_not_used(settings)
    overrides = parse_overrides(settings.ipfs_ns_map)
    metrics = Metrics(program_version())
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings))
        store = await stack.enter_async_context(open_objects(settings, metrics))
        redis = await stack.enter_async_context(_open_redis(settings))
        packed = PackedBlocks(store.objects, PostgresIndex(pool), on_damage=metrics.damaged.inc)
        caches = _caches(settings, packed, redis)
        epochs = Epochs(pool, caches.forget)
        await stack.enter_async_context(epochs.following())
        opened = await stack.enter_async_context(open_content(settings, pool, store, caches.blocks, metrics))
        keys = await stack.enter_async_context(cached_keys(PostgresKeys(pool)))
        ipns, names, names_here = await stack.enter_async_context(_open_names(settings, pool, overrides))
        ipns.names.listeners.append(lambda _: caches.answers.renamed())
        gateway = Gateway(
            blocks=caches.blocks,
            names=names,
            names_here=names_here,
            ipns=ipns.names,
            publisher=ipns.publisher,
            content=opened.content,
            files=opened.files,
            log=opened.log,
            jobs=opened.jobs,
            direct=opened.direct,
            keys=keys,
            answers=caches.answers,
            metrics=metrics,
            traffic=Traffic(settings.max_concurrent_requests, settings.max_concurrent_uploads),
            forget=epochs.refresh,
            probes=probes(pool, store.problem, redis),
            storage=store.state,
            optional=frozenset({"redis"}),
            sites=caches.sites,
        )
        yield _as_set(settings, gateway)


def _as_set(settings: Settings, gateway: Gateway) -> Gateway:
    """With what the settings alone decide."""
    return replace(
        gateway,
        limits=limits_of(settings),
        profile=PROFILES[settings.profile],
        temporary_seconds=settings.temporary_retention,
        public_url=settings.public_url,
        hosts=hosts_of(settings),
        proxies=Proxies(settings.trusted_proxies),
        sample=sample_cid(PROFILES[settings.profile]),
    )


@asynccontextmanager
async def _open_names(
    settings: Settings, pool: Pool, overrides: Mapping[str, ContentPath]
) -> AsyncGenerator[tuple[Ipns, CachedNames, KeptNames], None]:
    """Names by key, all names, and those that are known here. Nobody is asked before the first request."""
    limits = NameLimits(
        settings.names_cache_bytes, settings.names_cache_max_ttl, settings.names_cache_negative_ttl
    )
    dns_opened = open_dns(
        settings.dnslink_resolvers,
        timeout=settings.dns_timeout,
        fail_max=settings.circuit_breaker_fail_max,
        rest=settings.circuit_breaker_reset_timeout,
    )
    async with open_ipns(settings, pool) as ipns, dns_opened as dns:
        names = CachedNames(Names(ipns.names, DnsLinkNames(dns, overrides)), limits)
        ipns.names.listeners.append(names.forget)
        records = IpnsNames(ipns.names.store, max_ttl=ipns.names.max_ttl)
        here = Names(records, DnsLinkNames(NoDns(), overrides))
        yield ipns, names, KeptNames(names, here)


# Of a full name, before the port.
_FINAL_DOT = re.compile(r"\.(?=(?::\d+)?$)")


def hosts_of(settings: Settings) -> Hosts:
    """What the settings say about host names."""
    default = settings.deserialized_responses
    listed = {
        _FINAL_DOT.sub("", host): None if gateway is None else _rules(gateway, default)
        for host, gateway in settings.public_gateways.items()
    }
    local = {host: replace(rules, deserialized=default) for host, rules in LOCALHOST.items()}
    # Whoever maps a name to a path here means it to be served; that costs no DNS query.
    sites = {*settings.dnslink_gateway, *settings.ipfs_ns_map} - {"any"}
    return Hosts(
        {**local, **listed},
        sites=sites,
        any_site="any" in settings.dnslink_gateway,
        strict=settings.strict_hosts,
        deserialized=default,
    )


def _rules(gateway: PublicGateway, default: bool) -> HostRules:
    return HostRules(
        gateway.paths,
        gateway.use_subdomains,
        not gateway.no_dns_link,
        gateway.inline_dns_link,
        default if gateway.deserialized_responses is None else gateway.deserialized_responses,
    )


def _name_what_is_not_used(settings: Settings) -> None:
    if settings.upstream_gateways:
        logger.warning(
            "UPSTREAM_GATEWAYS are asked for IPNS records; this version asks them for no blocks yet"
        )


def limits_of(settings: Settings) -> Limits:
    """The bounds that the settings name."""
    return Limits(
        path_bytes=settings.max_path_bytes,
        header_bytes=settings.max_header_bytes,
        requests=settings.max_concurrent_requests,
        uploads=settings.max_concurrent_uploads,
        upload_bytes=settings.max_upload_bytes,
        upload_seconds=settings.upload_timeout,
        upload_idle_seconds=settings.upload_idle_timeout,
        directory_entries=settings.max_directory_entries,
        car_blocks=settings.max_car_blocks,
        resolve=ResolveLimits(segments=settings.max_path_segments),
        send=SendLimits(retrieval_timeout=settings.retrieval_timeout),
    )


def open_pool(settings: Settings) -> AbstractAsyncContextManager[Pool]:
    """The database alone, for commands that need no more."""
    return open_database(
        settings.database_url.get_secret_value() if settings.database_url else None,
        settings.data_dir / "postgres",
        pool_size=settings.database_pool_size,
        timeout=settings.database_timeout,
    )


@asynccontextmanager
async def open_reindex(settings: Settings) -> AsyncGenerator[Reindex, None]:
    """What rebuilds the index, over the stores that the settings name."""
    metrics = Metrics(program_version())
    async with open_pool(settings) as pool, open_objects(settings, metrics) as store:
        notes = PostgresNotes(pool, store.name)
        yield Reindex(store.objects, PostgresIndex(pool), notes, store.adoption)


@asynccontextmanager
async def _open_redis(settings: Settings) -> AsyncGenerator[RedisBlocks | None, None]:
    if settings.redis_url is None:
        yield None
        return
    redis = RedisBlocks(
        settings.redis_url.get_secret_value(),
        timeout=settings.redis_timeout,
        ttl=int(settings.cache_redis_ttl),
        fail_max=settings.circuit_breaker_fail_max,
        rest=settings.circuit_breaker_reset_timeout,
    )
    try:
        yield redis
    finally:
        await redis.aclose()
