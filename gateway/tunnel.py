"""CONNECT: clients that use the gateway as their HTTP proxy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from gateway.refusals import BadRequest

TLS_PORT = ":443"


@web.middleware
async def tunnel(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """The tunnel ends here: what comes next on the connection is HTTP for this gateway, whatever host was
    named (RFC 9110 section 9.3.6), and no connection is ever opened to another."""
    if request.method != hdrs.METH_CONNECT:
        return await handler(request)
    if request.raw_path.endswith(TLS_PORT):
        raise BadRequest("tunnels to this gateway carry plain HTTP; ask for http:// URLs")
    return web.Response()
