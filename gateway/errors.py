"""Every failure and the status it is answered with, in one table, and the middleware that answers."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from auth.errors import Forbidden, KeysUnavailable, Unauthenticated
from gateway import refusals
from gateway.formats.error_page import ErrorPage, render_error
from gateway.formats.pages import PAGE_HEADERS
from gateway.headers import KNOWN_MISSING, NO_STORE, accepts_html
from gateway.ranges import MalformedRange, UnsatisfiableRange
from gateway.request import CONTENT_PATH
from gateway.request_id import id_of
from gateway.sites.errors import BrokenSiteFile
from gateway.streaming import BrokenResponse, break_connection
from ipld import errors as ipld
from ipld.unixfs.paging import InvalidCursor
from naming.key_ring import PublishingOff, SecretChanged
from naming.named_keys import InvalidLabel, KeyTaken, KeyUnknown, NotYourKey
from naming.publisher import InvalidPublication
from naming.records import OlderRecord
from storage.direct_uploads import NotUploaded, StoredAsCar, WrongSize
from storage.index import UploadGone
from storage.objects import NotPublished
from storage.refused import IncompleteCar, InvalidTar

log = logging.getLogger("cidgate.errors")

# Looked up along the MRO of the exception; what is not here is 500.
STATUS: Mapping[type[BaseException], int] = {
    ipld.InvalidCid: 400,
    ipld.InvalidPath: 400,
    ipld.NameRecursion: 400,
    InvalidCursor: 400,
    ipld.InvalidCar: 400,
    InvalidTar: 400,
    MalformedRange: 400,
    refusals.BadRequest: 400,
    refusals.HoursOutOfRange: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    ipld.BlockNotFound: 404,
    ipld.NoLink: 404,
    ipld.NameNotFound: 404,
    ipld.NotUnixFs: 406,
    refusals.NotAcceptable: 406,
    refusals.NotKept: 404,
    refusals.FileNotFound: 404,
    refusals.UploadNotFound: 404,
    refusals.BodyCutShort: 400,
    refusals.RequestTimeout: 408,
    refusals.Conflict: 409,
    NotUploaded: 409,
    WrongSize: 409,
    StoredAsCar: 409,
    refusals.Gone: 410,
    refusals.LengthRequired: 411,
    refusals.PreconditionFailed: 412,
    refusals.PayloadTooLarge: 413,
    refusals.UnsupportedMediaType: 415,
    UnsatisfiableRange: 416,
    refusals.ExpectationFailed: 417,
    # The bytes are those that the CID names, so asking elsewhere or again gives the same: the fault is in the
    # content (as with an index.html that is a directory), not in this gateway (5xx) nor in the request.
    ipld.MalformedBlock: 422,
    IncompleteCar: 422,
    refusals.TooManyRequests: 429,
    refusals.HeadersTooLarge: 431,
    refusals.LegallyUnavailable: 451,
    # Not our fault, and yet what the web-redirects-file spec demands, with the text.
    BrokenSiteFile: 500,
    refusals.NotSupported: 501,
    ipld.BlockCorrupt: 502,
    NotPublished: 502,
    ipld.InvalidName: 400,
    ipld.InvalidKey: 400,
    InvalidLabel: 400,
    InvalidPublication: 400,
    NotYourKey: 403,
    KeyUnknown: 404,
    KeyTaken: 409,
    OlderRecord: 409,
    PublishingOff: 501,
    # Of a name that is asked for: the fault is with whoever signed it. Who puts one is told 400.
    ipld.InvalidRecord: 502,
    SecretChanged: 503,
    ipld.NameUnavailable: 502,
    ipld.NameTimeout: 504,
    ipld.StoreUnavailable: 503,
    ipld.StoreFull: 507,
    refusals.Draining: 503,
    UploadGone: 503,
    KeysUnavailable: 503,
    TimeoutError: 504,
}

# Whole seconds, always: ipfsspec and others read the header with int().
RETRY_AFTER: Mapping[int, int] = {429: 60, 502: 10, 503: 10, 504: 10}

_READING = ("GET", "HEAD", "OPTIONS")
_SENTENCES: Mapping[int, str] = {
    500: "internal error",
    504: "the content could not be found in time",
}


def status_of(exc: BaseException) -> int:
    """The status that an exception is answered with."""
    if isinstance(exc, web.HTTPException):
        return exc.status
    return next((STATUS[kind] for kind in type(exc).__mro__ if kind in STATUS), 500)


def reason_of(exc: BaseException) -> str:
    """The stable name of a failure: its own `reason`, else the name of its class, in upper case."""
    own = getattr(exc, "reason", None)
    if _is_unknown(exc):
        return "INTERNAL_ERROR"
    if isinstance(exc, TimeoutError):
        return "RETRIEVAL_TIMEOUT"
    name = own if isinstance(own, str) and own.isascii() else type(exc).__name__.removeprefix("HTTP")
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[ -]+", "_", name).upper()


def _is_unknown(exc: BaseException) -> bool:
    return status_of(exc) == 500 and not isinstance(exc, BrokenSiteFile)


def details_of(exc: BaseException) -> str:
    """One sentence for the client, on one line; of an unknown failure it says nothing more."""
    status = status_of(exc)
    if _is_unknown(exc):
        return _SENTENCES[500]
    own = getattr(exc, "details", None) or getattr(exc, "text", None) or str(exc)
    sentence = " ".join("".join(c if c.isprintable() else " " for c in str(own)).split())
    return sentence or _SENTENCES.get(status) or reason_of(exc).replace("_", " ").lower()


def error_response(request: web.Request, exc: BaseException) -> web.Response:
    """JSON for the API and for writes, a page for browsers, one line of text for everybody else."""
    status = status_of(exc)
    headers = _error_headers(request, exc, status)
    if request.method not in _READING or _is_api(request.path):
        body = {"error": {"reason": reason_of(exc), "details": details_of(exc)}}
        return _respond(status, headers, json.dumps(body) + "\n", "application/json")
    if accepts_html(request.headers.get("Accept")):
        page = ErrorPage(status, details_of(exc), id_of(request), request.raw_path, RETRY_AFTER.get(status))
        headers.update(PAGE_HEADERS)
        return _respond(status, headers, render_error(page), "text/html")
    return _respond(status, headers, details_of(exc) + "\n", "text/plain")


def _respond(status: int, headers: Mapping[str, str], text: str, content_type: str) -> web.Response:
    typed = {**headers, "Content-Type": f"{content_type}; charset=utf-8"}
    return web.Response(status=status, headers=typed, body=text.encode("utf-8", "replace"))


def _is_api(path: str) -> bool:
    return path == "/api" or path.startswith("/api/")


def _error_headers(request: web.Request, exc: BaseException, status: int) -> dict[str, str]:
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": NO_STORE}
    # zarr and package managers ask for many names that are not there: let proxies answer the next time.
    if isinstance(exc, ipld.NoLink) and request.get(CONTENT_PATH, "").startswith("/ipfs/"):
        headers["Cache-Control"] = KNOWN_MISSING
    if status in RETRY_AFTER:
        headers["Retry-After"] = str(int(getattr(exc, "retry_after", None) or RETRY_AFTER[status]))
    if isinstance(exc, Unauthenticated | Forbidden):
        headers["WWW-Authenticate"] = exc.challenge
    if isinstance(exc, UnsatisfiableRange):
        # RFC 9110 section 14.4.
        headers["Content-Range"] = f"bytes */{exc.size}"
    if isinstance(exc, web.HTTPException):
        described = ("content-type", "content-length")
        headers.update({name: value for name, value in exc.headers.items() if name.lower() not in described})
    return headers


@web.middleware
async def errors_middleware(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answers what handlers raise. Once a byte is out, the connection is broken instead."""
    try:
        return await handler(request)
    except BrokenResponse as exc:
        _log(request, exc.__cause__ or exc, "cut off")
        # Prepared, and its transport aborted: aiohttp finds a closed connection and writes nothing more.
        return exc.response
    except Exception as exc:
        # A second status line must never end up in a body that was begun.
        if request.writer.output_size > 0:
            break_connection(request)
            raise
        if isinstance(exc, web.HTTPException) and exc.status < 400:
            raise
        _log(request, exc, "refused")
        response = error_response(request, exc)
        if isinstance(exc, refusals.Draining) or not request.content.is_eof():
            # Nobody is going to read the rest of the body (RFC 9112 section 9.3), or the next request.
            response.force_close()
        return response


def _log(request: web.Request, exc: BaseException, what: str) -> None:
    status = status_of(exc)
    gone = isinstance(exc, ConnectionError) and (request.transport is None or request.transport.is_closing())
    if status < 500 or gone or isinstance(exc, BrokenSiteFile):
        return
    where = (what, id_of(request), request.method, ascii(request.raw_path))
    if status == 500:
        log.error("%s request %s %s %s", *where, exc_info=exc)
    else:
        log.warning("%s request %s %s %s: %s", *where, ascii(details_of(exc)))
