"""The values of HTTP headers: validators, conditions, cache policies, file names, CORS."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate, parsedate
from enum import Enum
from types import MappingProxyType
from urllib.parse import quote, unquote

IMMUTABLE = "public, max-age=29030400, immutable"
LISTING = "public, max-age=604800, stale-while-revalidate=2678400"
NO_STORE = "no-store"
# A name that an immutable directory lacks stays lacking, yet what is blocked may come back: keep it short.
KNOWN_MISSING = "public, max-age=60"

ALLOW_METHODS = "GET, HEAD, OPTIONS"
_EXPOSED = (
    "Content-Length, Content-Range, Accept-Ranges, ETag, Content-Disposition, Content-Location, "
    "Last-Modified, Location, Retry-After, Server-Timing, X-Request-Id, X-Ipfs-Path, X-Ipfs-Roots, "
    "X-Stream-Output, IPFS-Hash, X-Chunked-Output, Upload-Offset, Upload-Length, Upload-Metadata, "
    "Upload-Defer-Length, Upload-Expires, Upload-Concat, "
    "Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm"
)
# On every response, errors and 304 as well: a page must be able to read why it got nothing.
CORS: Mapping[str, str] = MappingProxyType(
    {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS, POST, PUT, DELETE, PATCH",
        "Access-Control-Allow-Headers": (
            "Authorization, Content-Type, Content-Disposition, If-Match, If-None-Match, If-Modified-Since, "
            "If-Range, Range, User-Agent, X-API-Key, X-Request-Id, X-Requested-With, X-HTTP-Method-Override, "
            "Upload-Offset, Upload-Length, Upload-Metadata, Upload-Defer-Length, Upload-Concat, "
            "Upload-Checksum, Tus-Resumable"
        ),
        "Access-Control-Expose-Headers": _EXPOSED,
    }
)
# Answers a preflight request (the Fetch standard, "CORS protocol").
PREFLIGHT: Mapping[str, str] = MappingProxyType({**CORS, "Access-Control-Max-Age": "86400"})


def mutable(ttl: int | None, *, listing: bool = False) -> str | None:
    """Cache-Control of content behind a name that may change; None where its lifetime is not known."""
    if not ttl or ttl < 0:
        return None
    return f"public, max-age={ttl}" + (", stale-while-revalidate=2678400" if listing else "")


# RFC 9110 section 8.8.3; obs-text is taken, since clients send back what they were given.
_ETAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\U0010ffff]*")')
_SEPARATOR = re.compile(r"[ \t,]*")


def parse_etags(header: str) -> list[str]:
    """The entity tags of a list, weak marks kept; what follows the first error is ignored."""
    tags: list[str] = []
    position = _skip(header, 0)
    while match := _ETAG.match(header, position):
        tags.append(match[0])
        position = _skip(header, match.end())
    return tags


def _skip(header: str, position: int) -> int:
    match = _SEPARATOR.match(header, position)
    return match.end() if match else position


def etag_matches(header: str, etag: str | None, *, weak: bool) -> bool:
    """Whether the list names `etag`, compared as RFC 9110 section 8.8.3.2 says; `*` names any."""
    if header.strip() == "*":
        return True
    if etag is None:
        return False
    if weak:
        plain = etag.removeprefix("W/")
        return any(tag.removeprefix("W/") == plain for tag in parse_etags(header))
    return not etag.startswith("W/") and etag in parse_etags(header)


class Verdict(Enum):
    """What the conditions of a request leave to do."""

    PROCEED = 200
    NOT_MODIFIED = 304
    FAILED = 412


@dataclass(frozen=True, slots=True)
class Validators:
    """What there is to compare conditions with; `last_modified` in seconds since 1970."""

    etag: str | None
    last_modified: float | None


def evaluate(headers: Mapping[str, str], current: Validators, *, reading: bool) -> Verdict:
    """The conditions of a request in the order of RFC 9110 section 13.2.2; `reading` is GET or HEAD.

    A header that is not there or cannot be read is a condition that holds.
    """
    if not _writes_allowed(headers, current):
        return Verdict.FAILED
    none_match = headers.get("If-None-Match")
    if none_match is not None:
        if etag_matches(none_match, current.etag, weak=True):
            return Verdict.NOT_MODIFIED if reading else Verdict.FAILED
        return Verdict.PROCEED
    if reading and _unchanged_since(headers.get("If-Modified-Since"), current):
        return Verdict.NOT_MODIFIED
    return Verdict.PROCEED


def _writes_allowed(headers: Mapping[str, str], current: Validators) -> bool:
    match = headers.get("If-Match")
    if match is not None:
        return etag_matches(match, current.etag, weak=False)
    since = headers.get("If-Unmodified-Since")
    if since is None or current.last_modified is None or parse_date(since) is None:
        return True
    return _unchanged_since(since, current)


def _unchanged_since(header: str | None, current: Validators) -> bool:
    if header is None or current.last_modified is None:
        return False
    since = parse_date(header)
    return since is not None and int(current.last_modified) <= since


def http_date(seconds: float) -> str:
    """An IMF-fixdate (RFC 9110 section 5.6.7)."""
    return formatdate(int(seconds), usegmt=True)


def parse_date(text: str) -> int | None:
    """Seconds since 1970 of any of the three forms of RFC 9110 section 5.6.7, or None."""
    try:
        parts = parsedate(text)
        return None if parts is None else int(datetime(*parts[:6], tzinfo=UTC).timestamp())
    except (ValueError, OverflowError, IndexError, TypeError):
        return None


# Control characters, separators of paths and of header parameters, and what breaks out of a quoted-string.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f/\\"\u2028\u2029\u202a-\u202e\u2066-\u2069]')


def content_disposition(filename: str, *, attachment: bool) -> str:
    """`inline` or `attachment` with both forms of the name (RFC 6266 section 4.3 and appendix D)."""
    kind = "attachment" if attachment else "inline"
    safe = _UNSAFE.sub("_", filename).encode("utf-8", "replace").decode()
    # A percent sign in the plain form is decoded by some browsers and not by others.
    plain = "".join(char if " " <= char <= "~" and char != "%" else "_" for char in safe)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(safe, safe='')}"


_PARAMETER = re.compile(r';[ \t]*([^\s=;"]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*+)"|([^;"]*))')


def content_disposition_name(header: str | None) -> str | None:
    """The file name that a Content-Disposition gives, without any directories (RFC 6266 section 4.3)."""
    names: dict[str, str] = {}
    for match in _PARAMETER.finditer(header or ""):
        quoted, plain = match[2], match[3]
        value = plain.strip() if quoted is None else re.sub(r'\\(["\\])', r"\1", quoted)
        names.setdefault(match[1].lower(), value)
    name = _extended(names.get("filename*", "")) or names.get("filename", "")
    return name.replace("\\", "/").rpartition("/")[2] or None


def _extended(value: str) -> str:
    """What `charset'language'percent-encoded` says (RFC 8187 section 3.2.1), or nothing."""
    charset, _, rest = value.partition("'")
    if charset.lower() not in ("utf-8", "iso-8859-1"):
        return ""
    return unquote(rest.partition("'")[2], charset, "replace")


def accepts_html(accept: str | None) -> bool:
    """Whether the client names text/html itself: browsers do, curl's `*/*` does not."""
    if not accept or "text/html" not in accept.lower():
        return False
    return any(_is_wanted_html(entry) for entry in accept.lower().split(","))


def _is_wanted_html(entry: str) -> bool:
    media, *parameters = (part.strip() for part in entry.split(";"))
    refused = any(re.fullmatch(r"q=0(\.0{0,3})?", parameter) for parameter in parameters)
    return media == "text/html" and not refused
