"""The headers that every response format carries about where its content was found."""

from __future__ import annotations

import time

from gateway.headers import IMMUTABLE, LISTING, content_disposition, mutable
from gateway.request import ContentRequest
from ipld.paths import Found

# The first second that an HTTP date can name.
_YEAR_1 = -62135596800


def content_headers(wanted: ContentRequest, found: Found, *, listing: bool = False) -> dict[str, str]:
    """`X-Ipfs-Path`, `X-Ipfs-Roots` and `Cache-Control` (path-gateway spec, "Response Headers")."""
    headers = {
        "X-Ipfs-Path": wanted.path.encoded(),
        "X-Ipfs-Roots": ",".join(map(str, found.roots)),
    }
    policy = mutable(found.ttl, listing=listing) if found.mutable else LISTING if listing else IMMUTABLE
    if policy is not None:
        headers["Cache-Control"] = policy
    if wanted.wanted.by_accept:
        headers["Content-Location"] = content_location(wanted)
    return headers


def content_location(wanted: ContentRequest) -> str:
    """Where this format has an address of its own. It takes the place of `Vary: Accept`, which would
    give every browser its own copy in a shared cache (path gateway spec, "Content-Location")."""
    added = f"format={wanted.format}"
    return f"{wanted.raw_path}?{wanted.query}&{added}" if wanted.query else f"{wanted.raw_path}?{added}"


def last_modified(found: Found, mtime: float | None) -> float | None:
    """The content's own time; else, where nothing says how long a name holds, now, as Kubo says.

    Never later than now (RFC 9110 section 8.8.2.1); none where the header knows no such year.
    """
    now = time.time()
    if mtime is None:
        return now if found.mutable and not found.ttl else None
    return min(mtime, now) if mtime >= _YEAR_1 else None


def disposition(wanted: ContentRequest, fallback: str) -> dict[str, str]:
    """Only where the client asks for a name or a download (path-gateway spec, `filename`, `download`)."""
    if wanted.filename is None and not wanted.download:
        return {}
    value = content_disposition(wanted.filename or fallback, attachment=wanted.download)
    return {"Content-Disposition": value}
