"""The IPLD data model: what every codec decodes to and encodes from."""

from __future__ import annotations

from typing import TypeAlias

from ipld.cid import Cid

Value: TypeAlias = "bool | int | float | str | bytes | Cid | list[Value] | dict[str, Value] | None"

# How many lists and maps may lie inside each other, the same in every codec. Both the decoders and those who
# walk over values may recurse that deep (CVE-2026-42328: unbounded recursion over blocks).
MAX_DEPTH = 128
