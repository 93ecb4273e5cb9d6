"""NameResolver: what turns a mutable name (IPNS, DNSLink) into a content path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ipld.paths import ContentPath


@dataclass(frozen=True, slots=True)
class ResolvedName:
    """Where a name points now. `ttl` is in seconds, None where the record states none; `expires` is
    the Unix time at which the record ends, None for one without an end."""

    path: ContentPath
    ttl: int | None
    expires: float | None = None

    def fresh_for(self, now: float) -> int | None:
        """Whole seconds that the answer holds: never past the record's end, never negative."""
        bounds = [] if self.ttl is None else [self.ttl]
        if self.expires is not None:
            bounds.append(int(self.expires - now))
        return max(0, min(bounds)) if bounds else None


class NameResolver(Protocol):
    async def resolve(self, name: str) -> ResolvedName:
        """What `/ipns/<name>` points to, one step: the path may begin with another name.

        Raises NameNotFound or StoreUnavailable.
        """
        ...
