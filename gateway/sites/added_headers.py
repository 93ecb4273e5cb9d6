"""How the headers that a site gives a page join those that the gateway gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gateway.formats.pages import PAGE_HEADERS
from gateway.representation import Representation

# They describe the file that is there, and say nothing about a page that is shown instead of one.
_OF_THE_FILE = ("content-type", "content-disposition")


def is_of_gateway(shown: Representation) -> bool:
    """Whether the gateway wrote the page itself (a listing): a site has no say in that."""
    return shown.headers.get("Content-Security-Policy") == PAGE_HEADERS["Content-Security-Policy"]


def add_headers(
    shown: Representation, given: Mapping[str, tuple[str, str]], *, mutable: bool, instead: bool
) -> Representation:
    """`given` is (name, value) by the name in lower case. What the gateway has set stays as it is, with
    two exceptions: the media type, and how long the content behind a name may be kept. Content that cannot
    change keeps its policy, and error pages theirs.
    """
    headers, content_type = dict(shown.headers), shown.content_type
    ours = {name.lower() for name in headers}
    for key, (name, value) in given.items():
        if instead and key in _OF_THE_FILE:
            continue
        if key == "content-type":
            content_type = value
        elif key == "cache-control":
            if mutable and shown.status == 200:
                headers["Cache-Control"] = value
        elif key not in ours:
            headers[name] = value
    return replace(shown, headers=headers, content_type=content_type)
