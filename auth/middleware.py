"""Who is asking: reads are open, everything else needs a key with the right scope."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from multidict import istr

from auth.errors import REALM, Forbidden, Unauthenticated
from auth.keys import PREFIX, ApiKey, Authenticator, Scope


@dataclass(frozen=True, slots=True)
class Identity:
    """`key` is None for anonymous readers."""

    key: ApiKey | None = None


ANONYMOUS: Final = Identity()
IDENTITY: Final = web.RequestKey("identity", Identity)

_API_KEY: Final = istr("X-API-Key")
_READS: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
_SCOPES: Final = {
    hdrs.METH_POST: Scope.UPLOAD,
    hdrs.METH_PUT: Scope.UPLOAD,
    hdrs.METH_PATCH: Scope.UPLOAD,
    hdrs.METH_DELETE: Scope.DELETE,
}
# RFC 6750 section 2.1, and RFC 9110 section 11.1: the scheme in any case, one or more spaces
_BEARER: Final = re.compile(r"bearer +(\S+)", re.IGNORECASE | re.ASCII)


def authenticate(keys: Authenticator) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        # The hot path: a read without credentials costs three look-ups and stores nothing.
        headers = request.headers
        if request.method in _READS and hdrs.AUTHORIZATION not in headers and _API_KEY not in headers:
            return await handler(request)
        await identify(keys, request)
        return await handler(request)

    return middleware


def identity_of(request: web.Request) -> Identity:
    identity: Identity = request.get(IDENTITY, ANONYMOUS)
    return identity


async def identify(keys: Authenticator, request: web.Request) -> Identity:
    """Let the request in and note whose it is, once; touches the headers only, never the body.

    For aiohttp's expect handlers too: they run before any middleware, and a bad key should get no
    `100 Continue`. Raises Unauthenticated, Forbidden and KeysUnavailable.
    """
    if IDENTITY not in request:
        request[IDENTITY] = await _identify(keys, request)
    return request[IDENTITY]


async def require(keys: Authenticator, request: web.Request, scope: Scope) -> ApiKey:
    """The key of the request, for what needs one even to be read.

    Raises Unauthenticated, Forbidden and KeysUnavailable.
    """
    key = identity_of(request).key
    if key is None:
        key = await _authenticated(keys, _presented(request))
        request[IDENTITY] = Identity(key)
    _require(key, scope)
    return key


async def _identify(keys: Authenticator, request: web.Request) -> Identity:
    if request.method == hdrs.METH_OPTIONS:  # a CORS preflight, which never carries a key
        return ANONYMOUS
    reading = request.method in _READS
    secret = _presented(request)
    if reading and (secret is None or not secret.startswith(PREFIX)):
        return ANONYMOUS
    key = await _authenticated(keys, secret)
    if not reading:
        _require(key, _SCOPES.get(request.method, Scope.ADMIN))
    return Identity(key)


async def _authenticated(keys: Authenticator, secret: str | None) -> ApiKey:
    if secret is None:
        raise Unauthenticated("UNAUTHORIZED", "This needs an API key: send `Authorization: Bearer <key>`.")
    key = await keys.authenticate(secret)
    if key is None:
        raise _invalid("The API key is unknown, expired or revoked.")
    return key


def _presented(request: web.Request) -> str | None:
    """The secret, or None where there is none; whatever is no Bearer token belongs to somebody else."""
    authorization = request.headers.getall(hdrs.AUTHORIZATION, [])
    bearers = [match[1] for value in authorization if (match := _BEARER.fullmatch(value.strip()))]
    secrets = {*bearers, *(value.strip() for value in request.headers.getall(_API_KEY, []))}
    if len(secrets) > 1:
        # A proxy and this gateway must not disagree on which one counts.
        raise _invalid("The request carries more than one API key.")
    return next(iter(secrets), None)


def _require(key: ApiKey, scope: Scope) -> None:
    if not key.allows(scope):
        raise Forbidden(
            "FORBIDDEN",
            f"The API key lacks the scope `{scope}`.",
            f'Bearer realm="{REALM}", error="insufficient_scope", scope="{scope}"',
        )


def _invalid(details: str) -> Unauthenticated:
    return Unauthenticated("UNAUTHORIZED", details, f'Bearer realm="{REALM}", error="invalid_token"')
