"""Variables that look like ours and are not: a typo must not be a silent default."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

_OURS = ("CIDGATE_", "FILEBASE_", "GATEWAY_", "CIRCUIT_")


def misspelled(environ: Collection[str], known: Collection[str]) -> list[str]:
    unknown = sorted(name for name in environ if name.startswith(_OURS) and name not in known)
    return [f"{name} is no variable of this program{_hint(name, known)}" for name in unknown]


def _hint(name: str, known: Collection[str]) -> str:
    bare = name.removeprefix("CIDGATE_")
    close = get_close_matches(bare, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""
