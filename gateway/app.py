"""Every route, middleware and signal of the gateway on one screen. Opens nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from auth.middleware import authenticate
from gateway.access_log import AccessLog
from gateway.api.routes import add_api
from gateway.by_host import by_host
from gateway.content import get_content
from gateway.context import GATEWAY, Gateway
from gateway.errors import errors_middleware
from gateway.headers import PREFLIGHT
from gateway.health import HEALTH_PATHS, get_healthz, get_metrics, get_readyz, get_version
from gateway.hosts import NAMESPACES, Kind
from gateway.observe import observe
from gateway.publishing import publish_name
from gateway.refusals import HeadersTooLarge
from gateway.response_headers import complete_headers
from gateway.routing_api import get_record, put_record, refuse_rest
from gateway.tunnel import tunnel
from gateway.upload_body import continue_later
from gateway.uploads import delete_content, post_content, put_content
from gateway.welcome import get_welcome

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# `(?s:…)`: a name may hold a line break.
CONTENT = "/ipfs/{path:(?s:.*)}"
NAMES = "/ipns/{path:(?s:.*)}"
# For `?uri=` alone.
BARE = tuple(f"/{namespace}" for namespace in NAMESPACES)
RECORDS = "/routing/v1/ipns/{name}"
ROUTING = "/routing/v1/{path:(?s:.*)}"
ANYTHING = "/{path:(?s:.*)}"

READ_METHODS = "GET, HEAD, OPTIONS"
NAME_METHODS = "GET, HEAD, OPTIONS, POST"
RECORD_METHODS = "GET, HEAD, OPTIONS, PUT"
CONTENT_METHODS = "GET, HEAD, OPTIONS, POST, PUT, DELETE"


def create_app(gateway: Gateway, access_log: AccessLog | None = None) -> web.Application:
    """An application over ready dependencies."""
    app = web.Application(
        middlewares=[
            observe(gateway.metrics, access_log),
            errors_middleware,
            admit(gateway),
            tunnel,
            authenticate(gateway.keys),
            by_host(gateway, preflight(READ_METHODS)),
        ],
        # Uploads are streamed and bounded by `MAX_UPLOAD_BYTES`; nothing else has a body.
        client_max_size=0,
    )
    app[GATEWAY] = gateway
    app.on_response_prepare.append(complete_headers)
    route = partial(app.router.add_route, expect_handler=continue_later)
    for read in ("GET", "HEAD"):
        for path in (CONTENT, NAMES, *BARE):
            route(read, path, get_content)
        route(read, "/", get_welcome)
        route(read, "/healthz", get_healthz)
        route(read, "/readyz", get_readyz)
        route(read, "/metrics", get_metrics)
        route(read, "/version", get_version)
        route(read, RECORDS, get_record)
        route(read, ROUTING, refuse_rest)
    route("PUT", RECORDS, put_record)
    route("POST", "/ipns/{key}", publish_name)
    route("POST", "/ipfs/", post_content)
    # `curl -T - URL/ipfs/` has no name to give.
    route("PUT", CONTENT, put_content)
    route("DELETE", CONTENT, delete_content)
    route("OPTIONS", CONTENT, preflight(CONTENT_METHODS))
    route("OPTIONS", NAMES, preflight(NAME_METHODS))
    route("OPTIONS", RECORDS, preflight(RECORD_METHODS))
    add_api(route, preflight)
    route("*", ANYTHING, refuse_unknown)
    return app


def admit(gateway: Gateway) -> Middleware:
    """Keeps the number and the size of requests under way in bounds, and new ones out while stopping."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        check_headers(request, gateway.limits.header_bytes)
        with gateway.traffic.request(exempt=request.path in HEALTH_PATHS and not is_website(request)):
            return await handler(request)

    def is_website(request: web.Request) -> bool:
        # A website may have a file of that name.
        return gateway.hosts.of(gateway.proxies.host(request)).kind in (Kind.SUBDOMAIN, Kind.SITE)

    return middleware


def check_headers(request: web.Request, most: int) -> None:
    """aiohttp bounds each field and their number, and not what they take together: reading and keeping a
    megabyte of `Accept` would hold up everybody else."""
    if sum(len(name) + len(value) for name, value in request.raw_headers) > most:
        raise HeadersTooLarge(f"the header fields of a request have at most {most} bytes here")


def preflight(methods: str) -> Handler:
    """Answers OPTIONS: what a browser may send here from another origin."""
    headers = {**PREFLIGHT, hdrs.ALLOW: methods}

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(headers=headers)

    return answer


async def refuse_unknown(request: web.Request) -> web.StreamResponse:
    """404, or 405 where the path takes other methods.

    Were it left to aiohttp, it would ask for bodies (`Expect`) that nobody is allowed to send.
    """
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        if resource is not request.match_info.route.resource:
            allowed |= (await resource.resolve(request))[1]
    if allowed:
        text = f"{request.method} is not for this path, which takes {', '.join(sorted(allowed))}"
        raise web.HTTPMethodNotAllowed(request.method, sorted(allowed), text=text)
    raise web.HTTPNotFound(text="nothing is at this path: content is at /ipfs/<cid> and /ipns/<name>")
