"""What a request handler may use: protocols and values, made once by the wiring."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

from auth.keys import ApiKeys
from gateway.answers import Answers
from gateway.metrics import Metrics
from gateway.streaming import SendLimits
from gateway.traffic import Traffic
from gateway.trustless import Trustless
from ipld.blocks import BlockReader
from ipld.names import NameResolver
from ipld.paths import ResolveLimits
from ipld.unixfs.profiles import UNIXFS_V1_2025, Profile
from storage.content import Content

# Asks one dependency whether it works; a text says what is wrong.
Probe = Callable[[], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one process; sizes in bytes, times in seconds."""

    path_bytes: int = 8192
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
    in `optional` may fail without the gateway being unready. `forget` drops every cache at once."""

    blocks: BlockReader
    names: NameResolver
    content: Content
    keys: ApiKeys
    answers: Answers
    metrics: Metrics
    traffic: Traffic
    forget: Callable[[], Awaitable[None]]
    probes: Mapping[str, Probe] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)
    profile: Profile = UNIXFS_V1_2025
    public_url: str | None = None
    sample: str | None = None
    trustless: Trustless = field(default_factory=Trustless)


GATEWAY: web.AppKey[Gateway] = web.AppKey("gateway", Gateway)
