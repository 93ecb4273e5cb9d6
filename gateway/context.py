"""What a request handler may use: protocols and values, made once by the wiring."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field

from aiohttp import web

from auth.keys import ApiKeys
from gateway.answers import Answers
from gateway.forwarded import Proxies
from gateway.hosts import Hosts
from gateway.metrics import Metrics
from gateway.sites.files import SiteFiles
from gateway.streaming import SendLimits
from gateway.traffic import Traffic
from ipld.blocks import BlockReader
from ipld.names import NameResolver
from ipld.paths import ResolveLimits
from ipld.unixfs.profiles import UNIXFS_V1_2025, Profile
from naming.ipns import IpnsNames
from naming.names import NoNames
from naming.publisher import Publisher
from storage.content import Content
from storage.direct_uploads import DirectUploads
from storage.files import Files
from storage.upload_log import UploadLog

# Asks one dependency whether it works; a text says what is wrong.
Probe = Callable[[], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one process; sizes in bytes, times in seconds."""

    path_bytes: int = 8192
    header_bytes: int = 32768
    requests: int = 4096
    uploads: int = 64
    upload_bytes: int = 64 * 1024**3
    upload_seconds: float = 6 * 3600
    upload_idle_seconds: float = 60
    directory_entries: int = 1_000_000
    car_blocks: int = 2_000_000
    resolve: ResolveLimits = field(default_factory=ResolveLimits)
    send: SendLimits = field(default_factory=SendLimits)


@dataclass(frozen=True, slots=True)
class Gateway:
    """`answers` remembers what immutable paths were answered with. `probes` are by dependency; those
    in `optional` may fail without the gateway being unready; `storage` is what `/readyz` tells besides.
    `forget` drops every cache at once. `names_here` asks nobody outside. `temporary_seconds` is how long
    what was marked temporary is kept. `jobs` does the jobs of the queue until its block is left. `direct`
    is None where the store is no bucket."""

    blocks: BlockReader
    names: NameResolver
    ipns: IpnsNames
    publisher: Publisher
    content: Content
    files: Files
    log: UploadLog
    keys: ApiKeys
    answers: Answers
    metrics: Metrics
    traffic: Traffic
    forget: Callable[[], Awaitable[None]]
    probes: Mapping[str, Probe] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    storage: Callable[[], Mapping[str, str]] = dict
    limits: Limits = field(default_factory=Limits)
    sites: SiteFiles = field(default_factory=SiteFiles)
    profile: Profile = UNIXFS_V1_2025
    temporary_seconds: float = 30 * 86400.0
    jobs: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
    direct: DirectUploads | None = None
    public_url: str | None = None
    sample: str | None = None
    names_here: NameResolver = field(default_factory=NoNames)
    hosts: Hosts = field(default_factory=Hosts)
    proxies: Proxies = field(default_factory=Proxies)


GATEWAY: web.AppKey[Gateway] = web.AppKey("gateway", Gateway)
