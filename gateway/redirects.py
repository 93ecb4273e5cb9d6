"""Answers that send the client elsewhere."""

from __future__ import annotations

import string
from collections.abc import Mapping
from html import escape
from urllib.parse import quote

from gateway.representation import Representation

# What may stand in a Location as it is: `%`, because what was escaped stays so; no backslash, since browsers
# take it for a slash.
_AS_SENT = (string.ascii_letters + string.digits + string.punctuation).replace("\\", "")


def as_sent(url: str) -> str:
    """A URL, or a path and query, fit for a Location: only what is not visible ASCII is escaped."""
    return quote(url.encode("utf-8", "surrogateescape"), safe=_AS_SENT)


def moved(location: str, status: int = 301, headers: Mapping[str, str] | None = None) -> Representation:
    """A redirect with a link for whoever does not follow it; `location` as `as_sent` takes it."""
    location = as_sent(location)
    body = f'<a href="{escape(location)}">{escape(location)}</a>\n'
    return Representation(
        content_type="text/html; charset=utf-8",
        headers={**(headers or {}), "Location": location},
        body=body.encode(),
        status=status,
    )
