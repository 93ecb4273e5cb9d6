"""Which gateways a question for a record came through, so that none goes in a circle (RFC 9110, "Via")."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping

# Marks of gateways, the first that was asked first.
Via = tuple[str, ...]

# A question that came through so many goes no further: each of them may ask several others.
MAX_HOPS = 4

_MARK = re.compile(r"cidgate-[0-9a-f]{16}", re.ASCII)


def new_mark() -> str:
    """What one process of a gateway is called in `Via`: a pseudonym that is nobody else's."""
    return f"cidgate-{secrets.token_hex(8)}"


def marks_in(fields: Iterable[str]) -> Via:
    """The marks in `Via` fields; proxies of other makes stand between them, and do not matter."""
    passed = [entry.split() for field in fields for entry in field.split(",")]
    # RFC 9110 section 7.6.3: the protocol, who received it, and a comment.
    return tuple(words[1] for words in passed if len(words) > 1 and _MARK.fullmatch(words[1]))


def via_header(via: Via) -> Mapping[str, str]:
    """The header for a question that came through these; none for none."""
    return {"Via": ", ".join(f"1.1 {mark}" for mark in via)} if via else {}
