"""NameResolver: what turns a mutable name (IPNS, DNSLink) into a content path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ipld.paths import ContentPath


@dataclass(frozen=True, slots=True)
class ResolvedName:
    """Where a name points now. `ttl` is in seconds, None where the record states none."""

    path: ContentPath
    ttl: int | None


class NameResolver(Protocol):
    async def resolve(self, name: str) -> ResolvedName:
        """What `/ipns/<name>` points to, one step: the path may begin with another name.

        Raises NameNotFound or StoreUnavailable.
        """
        ...
