"""Requests by the host that they came to: path gateway, subdomain or website."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from gateway.content import get_content, names_for
from gateway.context import Gateway
from gateway.health import HEALTH_PATHS
from gateway.hosts import NAMESPACES, Kind, Origin
from gateway.redirects import moved
from gateway.representation import send
from gateway.request import ORIGIN, target_of
from gateway.subdomains import RootedPath, canonical_label, subdomain_url, tls_label
from ipld.errors import InvalidPath, NameNotFound
from ipld.names import NameResolver
from ipld.paths import ContentPath

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

READS = (hdrs.METH_GET, hdrs.METH_HEAD)
SERVICES = ("/api/", "/routing/")


def by_host(gateway: Gateway, preflight: Handler) -> Middleware:
    """Sends each request to the content root that its host names; where it names none, on to the routes.
    `preflight` answers OPTIONS on hosts that are read only."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = gateway.hosts.of(gateway.proxies.host(request))
        own = None if origin.kind is Kind.PATH else await _own_handler(request, gateway, origin)
        if own is None:
            request[ORIGIN] = origin.without_root()
            return await handler(request)
        request[ORIGIN] = origin
        if request.method == hdrs.METH_OPTIONS:
            return await preflight(request)
        if request.method not in READS:
            raise web.HTTPMethodNotAllowed(request.method, [*READS, hdrs.METH_OPTIONS])
        return await own(request)

    return middleware


async def _own_handler(request: web.Request, gateway: Gateway, origin: Origin) -> Handler | None:
    """What answers on this host; None where the routes do."""
    path, _ = target_of(request)
    if origin.kind is Kind.SUBDOMAIN:
        return _redirect_label(gateway, origin) if origin.moved else get_content
    if origin.kind is Kind.LISTED and _is_content(path):
        if not origin.rules.serves(path):
            raise web.HTTPNotFound(text=f"{origin.host} does not serve {path.split('/')[1]} paths")
        reading = request.method in READS and origin.rules.subdomains
        url = _subdomain_of(request, gateway, origin) if reading else None
        return None if url is None else _redirect_to(gateway, url)
    # A listed host is the gateway's own: what it does there depends on no name server.
    own_service = origin.kind is Kind.LISTED and (path in HEALTH_PATHS or path.startswith(SERVICES))
    if origin.root and not own_service and await _has_link(gateway, names_for(request, gateway), origin.root):
        return get_content
    unknown = origin.kind is Kind.UNKNOWN or (origin.kind is Kind.SITE and gateway.hosts.strict)
    if unknown and path not in HEALTH_PATHS:
        raise web.HTTPNotFound(text=f"this gateway does not serve {origin.host or 'requests without a host'}")
    return None


def _is_content(path: str) -> bool:
    return path.lstrip("/").split("/", 1)[0] in NAMESPACES


async def _has_link(gateway: Gateway, names: NameResolver, name: str) -> bool:
    try:
        async with asyncio.timeout(gateway.limits.send.retrieval_timeout):
            await names.resolve(name)
    except NameNotFound:
        return False
    return True


def _subdomain_of(request: web.Request, gateway: Gateway, origin: Origin) -> str | None:
    """Where a content path lives on a gateway with subdomains; None for what is no valid one.

    Only the root is checked (subdomain gateway spec, "Use in interop with Path Gateway"). Raises BadRequest.
    """
    raw_path, query = target_of(request)
    rooted = RootedPath.split(raw_path)
    if rooted is None:
        return None
    try:
        root = ContentPath.parse(f"/{rooted.namespace}/{rooted.root}").root
    except InvalidPath:
        return None
    label = canonical_label(rooted.namespace, root)
    if root in NAMESPACES or (rooted.namespace == "ipns" and not _is_name(label)):
        return None
    scheme = gateway.proxies.scheme(request)
    if rooted.namespace == "ipns" and (scheme == "https" or origin.rules.inline_dnslink):
        label = tls_label(label)
    target = (rooted.rest or "/") + (f"?{query}" if query else "")
    return subdomain_url(scheme, label, rooted.namespace, origin.host, target)


def _is_name(label: str) -> bool:
    # A key in base36, a domain name, or one that was put into a single label.
    return label.startswith("k") or "." in label or "-" in label


def _redirect_label(gateway: Gateway, origin: Origin) -> Handler:
    """To the one form of the root, so that the same content has one origin."""

    async def redirect(request: web.Request) -> web.StreamResponse:
        scheme = gateway.proxies.scheme(request)
        raw_path, query = target_of(request)
        target = raw_path + (f"?{query}" if query else "")
        url = subdomain_url(scheme, origin.label, origin.namespace, origin.host, target)
        return await send(request, moved(url))

    return redirect


def _redirect_to(gateway: Gateway, url: str) -> Handler:
    async def redirect(request: web.Request) -> web.StreamResponse:
        return await send(request, moved(url), gateway.limits.send)

    return redirect
