"""Requests by the host that they came to: path gateway, subdomain or website."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from gateway.content import get_content, names_for, only_if_cached
from gateway.context import Gateway
from gateway.health import HEALTH_PATHS
from gateway.host_names import HostName
from gateway.hosts import NAMESPACES, Kind, Origin
from gateway.redirects import moved
from gateway.refusals import PreconditionFailed
from gateway.representation import send
from gateway.request import ORIGIN, target_of
from gateway.subdomains import RootedPath, canonical_label, subdomain_url, tls_label
from ipld.errors import InvalidPath, NameNotFound
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
        plain = origin.kind is Kind.PATH and not _is_proxied(request)
        own = None if plain else await _own_handler(request, gateway, origin)
        if own is None:
            request[ORIGIN] = origin.without_root()
            return await handler(request)
        request[ORIGIN] = origin.as_website()
        if request.method == hdrs.METH_OPTIONS:
            return await preflight(request)
        if request.method not in READS:
            text = f"{request.method} is not for websites: they are read only"
            raise web.HTTPMethodNotAllowed(request.method, [*READS, hdrs.METH_OPTIONS], text=text)
        return await own(request)

    return middleware


async def _own_handler(request: web.Request, gateway: Gateway, origin: Origin) -> Handler | None:
    """What answers on this host; None where the routes do."""
    path, _ = target_of(request)
    if origin.kind is Kind.SUBDOMAIN:
        return _redirect_to(gateway, _in_one_form(request, gateway, origin)) if origin.moved else get_content
    is_content = origin.kind is Kind.LISTED and _is_content(path)
    if is_content and origin.rules.serves(path):
        reading = request.method in READS and origin.rules.subdomains
        url = _subdomain_of(request, gateway, origin) if reading else None
        return None if url is None else _redirect_to(gateway, url)
    # A listed host is the gateway's own: what it does there depends on no name server.
    own_service = origin.kind is Kind.LISTED and (path in HEALTH_PATHS or path.startswith(SERVICES))
    if origin.root and not own_service and await _has_link(request, gateway, origin.root):
        return get_content
    if is_content:
        raise web.HTTPNotFound(text=f"{origin.host} does not serve {path.split('/')[1]} paths")
    if path not in HEALTH_PATHS:
        _refuse_strangers(request, gateway, origin)
    return None


def _refuse_strangers(request: web.Request, gateway: Gateway, origin: Origin) -> None:
    """Raises HTTPNotFound on hosts that this gateway does not speak for."""
    if origin.kind is Kind.UNKNOWN or (origin.kind is Kind.SITE and gateway.hosts.strict):
        raise web.HTTPNotFound(text=f"this gateway does not serve {origin.host or 'requests without a host'}")
    # Whoever uses a proxy asks no DNS, so every name ends here: content of anybody would get the origin, and
    # the cookies, of any website.
    is_own = origin.kind is Kind.LISTED or not origin.host or HostName.parse(origin.host).is_address
    if _is_proxied(request) and not is_own:
        raise web.HTTPNotFound(
            text=f"as a proxy this gateway serves its own hosts only, and {origin.host} is none of them"
        )


def _is_proxied(request: web.Request) -> bool:
    # RFC 9112 section 3.2.2: the absolute form is what proxies are sent.
    return not request.raw_path.startswith("/")


def _is_content(path: str) -> bool:
    return path.lstrip("/").split("/", 1)[0] in NAMESPACES


async def _has_link(request: web.Request, gateway: Gateway, name: str) -> bool:
    """Whether the host is that of a website. Raises PreconditionFailed where only asking would tell."""
    try:
        async with asyncio.timeout(gateway.limits.send.retrieval_timeout):
            await names_for(request, gateway).resolve(name)
    except NameNotFound as error:
        if only_if_cached(request):
            # A cache in front must not keep content of anybody for what may be a website.
            raise PreconditionFailed(f"the DNSLink of {name} is not known here") from error
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
    if root in NAMESPACES or label is None:
        return None
    scheme = gateway.proxies.scheme(request)
    inlined = scheme == "https" or origin.rules.inline_dnslink or "." not in label
    if rooted.namespace == "ipns" and inlined:
        label = tls_label(label)
    target = (rooted.rest or "/") + (f"?{query}" if query else "")
    return subdomain_url(scheme, label, rooted.namespace, origin.host, target)


def _in_one_form(request: web.Request, gateway: Gateway, origin: Origin) -> str:
    """The URL under the one label of the root, so that the same content has one origin."""
    raw_path, query = target_of(request)
    target = raw_path + (f"?{query}" if query else "")
    scheme = gateway.proxies.scheme(request)
    return subdomain_url(scheme, origin.label, origin.namespace, origin.host, target)


def _redirect_to(gateway: Gateway, url: str) -> Handler:
    async def redirect(request: web.Request) -> web.StreamResponse:
        return await send(request, moved(url), gateway.limits.send)

    return redirect
