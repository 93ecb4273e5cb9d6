"""Answers that send the client elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from gateway.representation import Representation


def moved(location: str, status: int = 301, headers: Mapping[str, str] | None = None) -> Representation:
    """A redirect with a link for whoever does not follow it. `location` is percent-encoded."""
    body = f'<a href="{escape(location)}">{escape(location)}</a>\n'
    return Representation(
        content_type="text/html; charset=utf-8",
        headers={**(headers or {}), "Location": location},
        body=body.encode(),
        status=status,
    )
