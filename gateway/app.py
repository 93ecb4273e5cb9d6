"""Every route, middleware and signal of the gateway on one screen. Opens nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from auth.middleware import authenticate
from gateway.access_log import AccessLog
from gateway.content import get_content
from gateway.context import GATEWAY, Gateway
from gateway.errors import errors_middleware
from gateway.headers import PREFLIGHT
from gateway.health import HEALTH_PATHS, get_healthz, get_metrics, get_readyz, get_version
from gateway.observe import observe
from gateway.response_headers import complete_headers
from gateway.upload_body import expect_continue
from gateway.uploads import delete_content, post_content, put_content
from gateway.welcome import get_welcome

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

READ_METHODS = "GET, HEAD, OPTIONS"
CONTENT_METHODS = "GET, HEAD, OPTIONS, POST, PUT, DELETE"


def create_app(gateway: Gateway, access_log: AccessLog | None = None) -> web.Application:
    """An application over ready dependencies."""
    app = web.Application(
        middlewares=[
            observe(gateway.metrics, access_log),
            errors_middleware,
            admit(gateway),
            authenticate(gateway.keys),
        ],
        # Uploads are streamed and bounded by `MAX_UPLOAD_BYTES`; nothing else has a body.
        client_max_size=0,
    )
    app[GATEWAY] = gateway
    app.on_response_prepare.append(complete_headers)
    route = app.router.add_route
    route("GET", "/ipfs/{path:.*}", get_content)
    route("GET", "/ipns/{path:.*}", get_content)
    route("HEAD", "/ipfs/{path:.*}", get_content)
    route("HEAD", "/ipns/{path:.*}", get_content)
    route("POST", "/ipfs/", post_content, expect_handler=expect_continue)
    route("PUT", "/ipfs/{path:.+}", put_content, expect_handler=expect_continue)
    route("DELETE", "/ipfs/{path:.+}", delete_content)
    route("OPTIONS", "/ipfs/{path:.*}", preflight(CONTENT_METHODS))
    route("OPTIONS", "/ipns/{path:.*}", preflight(READ_METHODS))
    app.router.add_get("/", get_welcome)
    app.router.add_get("/healthz", get_healthz)
    app.router.add_get("/readyz", get_readyz)
    app.router.add_get("/metrics", get_metrics)
    app.router.add_get("/version", get_version)
    return app


def admit(gateway: Gateway) -> Middleware:
    """Keeps the number of requests under way in bounds, and new ones out while stopping."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        with gateway.traffic.request(exempt=request.path in HEALTH_PATHS):
            return await handler(request)

    return middleware


def preflight(methods: str) -> Handler:
    """Answers OPTIONS: what a browser may send here from another origin."""
    headers = {**PREFLIGHT, hdrs.ALLOW: methods}

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(headers=headers)

    return answer
