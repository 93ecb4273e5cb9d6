"""Which response headers a website may set, and which are the gateway's."""

from __future__ import annotations

# They frame the message, name or validate the content, or speak for the server and not for the site. Netlify
# keeps most of them to itself as well; `Basic-Auth` is how it is told passwords.
_OURS = frozenset(
    (
        "accept-ranges",
        "age",
        "allow",
        "alt-svc",
        "authentication-info",
        "basic-auth",
        "clear-site-data",
        "connection",
        "content-encoding",
        "content-length",
        "content-location",
        "content-range",
        "date",
        "etag",
        "expires",
        "http2-settings",
        "keep-alive",
        "last-modified",
        "location",
        "pragma",
        "proxy-connection",
        "retry-after",
        "server",
        "server-timing",
        "set-cookie",
        "set-cookie2",
        "status",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "warning",
        "www-authenticate",
        "x-request-id",
        "x-stream-output",
        "x-chunked-output",
    )
)
# Proxies in front of a gateway act on some of these (`X-Accel-Redirect` makes nginx send a file of its own),
# shared caches on others. CORS is the gateway's: what it serves is public, and pages everywhere rely on that.
_OUR_PREFIXES = (
    "access-control-",
    "cdn-",
    "ipfs-",
    "proxy-",
    "surrogate-",
    "tus-",
    "upload-",
    "x-accel-",
    "x-ipfs-",
    "x-lighttpd-",
    "x-litespeed-",
    "x-reproxy-",
    "x-sendfile",
)
# Said only once in a response: the last line counts, and nothing is joined.
SINGLE = frozenset(("content-type", "content-disposition", "x-content-type-options"))


def refusal(name: str, value: str) -> str | None:
    """Why a site cannot set this header; None where it can. `name` is in lower case."""
    if name in _OURS or name.startswith(_OUR_PREFIXES):
        return "this header is the gateway's own"
    if name == "x-content-type-options" and value.lower() != "nosniff":
        return "nosniff is the only value, and cannot be taken back"
    return None
