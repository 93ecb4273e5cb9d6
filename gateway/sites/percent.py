"""Percent-encoding (RFC 3986) that keeps the escapes that are there and adds those that are missing."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, unquote_to_bytes

_BAD = re.compile("%(?![0-9A-Fa-f]{2})")
# RFC 3986 section 3.3, pchar, and what may stand between segments, in a query and in a fragment.
_SEGMENT = "!$&'()*+,;=:@"
_PATH = "%/" + _SEGMENT
_QUERY = "%/?" + _SEGMENT
_URL = "#[]" + _QUERY
# In the value of a query parameter these mean themselves; `&`, `=` and `+` would not.
_VALUE = "/?!$'()*,;:@"


def encoded_url(text: str) -> str:
    """A URL or a path as it may stand in a Location header; ValueError for a broken escape."""
    if _BAD.search(text):
        raise ValueError("it has an invalid URL escape")
    return _quoted(text, _URL)


def encoded_path(raw: str) -> str:
    """A raw path, or a part of one."""
    return _quoted(raw, _PATH)


def encoded_query(raw: str) -> str:
    """A raw query."""
    return _quoted(raw, _QUERY)


def as_value(raw: str) -> str:
    """A part of a raw path as the value of a query parameter."""
    return _quoted(decoded(raw), _VALUE)


def encoded_text(text: str) -> str:
    """Text that has no escapes yet as a part of a path segment."""
    return _quoted(text, _SEGMENT)


def decoded(raw: str) -> str:
    """What a part of a path means; bytes that are no UTF-8 become surrogates."""
    return unquote(raw, errors="surrogateescape") if "%" in raw else raw


def decoded_strictly(raw: str) -> str:
    """What a part of a path means; ValueError where that is nothing."""
    if "%" not in raw:
        return raw
    if _BAD.search(raw):
        raise ValueError("it has an invalid URL escape")
    try:
        return unquote_to_bytes(raw).decode("utf-8")
    except UnicodeError as error:
        raise ValueError("its escapes are no UTF-8") from error


def _quoted(text: str, safe: str) -> str:
    return quote(text.encode("utf-8", "surrogateescape"), safe)
