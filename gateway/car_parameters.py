"""What part of a DAG a CAR shall carry, and how: from the query, or from the `Accept` entry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.refusals import BadRequest


class Scope(StrEnum):
    """`dag-scope` (IPIP-0402): a block alone, what one file or directory needs, or the whole DAG."""

    BLOCK = "block"
    ENTITY = "entity"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class ByteRange:
    """`entity-bytes`: both ends count and may be negative, from the end; `last` None is the end."""

    first: int
    last: int | None

    def within(self, size: int) -> tuple[int, int] | None:
        """The bytes start up to stop that this means in a file; None where that is nothing."""
        start, last = self._resolved(size)
        start, stop = max(0, start), min(last + 1, size)
        return (start, stop) if start < stop else None

    def is_outside(self, size: int) -> bool:
        """Whether all of it lies before or after the file; one that ends before it begins need not."""
        start, last = self._resolved(size)
        return start >= size or last < 0

    def _resolved(self, size: int) -> tuple[int, int]:
        start = self.first if self.first >= 0 else size + self.first
        last = size - 1 if self.last is None else self.last if self.last >= 0 else size + self.last
        return start, last


@dataclass(frozen=True, slots=True)
class CarParameters:
    """`order` and `duplicates` are what the answer keeps to (IPIP-0412)."""

    scope: Scope = Scope.ALL
    bytes: ByteRange | None = None
    duplicates: bool = False

    @property
    def media_type(self) -> str:
        """The Content-Type, with what was kept to. Depth first serves a client that knows no order, too."""
        return f"application/vnd.ipld.car; version=1; order=dfs; dups={'y' if self.duplicates else 'n'}"


# As in other gateways, to which positions are numbers of 64 bits.
MAX_POSITION = 2**63 - 1

_RANGE = re.compile(r"(-?\d{1,19}):(\*|-?\d{1,19})", re.ASCII)


def parse_car_parameters(query: Mapping[str, str], accept: Mapping[str, str]) -> CarParameters:
    """`accept` are the parameters of the media type; the query counts before them. Raises BadRequest.

    `entity-bytes` alone implies the scope `entity` (trustless gateway spec, "entity-bytes").
    """
    _one_of("car-version", query.get("car-version", accept.get("version")), ("1",))
    _one_of("car-order", query.get("car-order", accept.get("order")), ("dfs", "unk"))
    duplicates = _one_of("car-dups", query.get("car-dups", accept.get("dups")), ("y", "n"))
    wanted = _range(query.get("entity-bytes"))
    scope = _one_of("dag-scope", query.get("dag-scope"), tuple(Scope))
    if scope is None:
        scope = Scope.ALL if wanted is None else Scope.ENTITY
    return CarParameters(Scope(scope), wanted, duplicates == "y")


def kept_to(parameters: CarParameters, asked: Mapping[str, str]) -> str:
    """What `Content-Location` adds to the query that was asked, so that it names this very answer."""
    kept = {"version": "1", "order": "dfs", "dups": "y" if parameters.duplicates else "n"}
    return "".join(f"&car-{name}={value}" for name, value in kept.items() if f"car-{name}" not in asked)


def _one_of(name: str, value: str | None, allowed: tuple[str, ...]) -> str | None:
    if value is not None and value not in allowed:
        raise BadRequest(f"{name} is {' or '.join(allowed)}")
    return value


def _range(text: str | None) -> ByteRange | None:
    if text is None:
        return None
    match = _RANGE.fullmatch(text)
    if match is None:
        raise BadRequest("entity-bytes is from:to, two whole numbers of which the second may be *")
    first, last = int(match[1]), None if match[2] == "*" else int(match[2])
    if max(abs(first), abs(last or 0)) > MAX_POSITION:
        raise BadRequest(f"entity-bytes has no numbers beyond {MAX_POSITION}")
    if last is not None and (first < 0) == (last < 0) and last < first:
        raise BadRequest("entity-bytes ends before it begins")
    return ByteRange(first, last)
