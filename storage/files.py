"""Files: what the owner of a key has uploaded and still keeps, and when it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from ipld.cid import Cid
from storage.index import Released

# On one page.
MAX_PAGE = 1000
# How the upload log names the cleanup.
CLEANUP = "cleanup"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended: the next one goes on after it. `at` is when that file was created or expires."""

    at: datetime
    file_id: UUID


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A root that an owner keeps under a name. `size` is in bytes, `expires_at` None for ever."""

    file_id: UUID
    owner: UUID
    root: Cid
    name: str
    size: int
    created_at: datetime
    expires_at: datetime | None = None


class Match(StrEnum):
    """How a name is compared, in the words of the IPFS Pinning Service API; `i` ignores case."""

    EXACT = "exact"
    IEXACT = "iexact"
    PARTIAL = "partial"
    IPARTIAL = "ipartial"


@dataclass(frozen=True, slots=True)
class FileQuery:
    """Which files of an owner, and which page of them; None does not filter. `root` is meant in any of
    its forms."""

    owner: UUID
    name: str | None = None
    match: Match = Match.EXACT
    root: Cid | None = None
    after: Place | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Freed:
    """What letting go would delete: so many objects, of so many bytes together."""

    objects: int
    size: int


class Files(Protocol):
    """Every method raises StoreUnavailable when the index cannot be asked.

    Objects that a release leaves without an owner are out of the index when it returns, and are then to
    be deleted: `Content.let_go` does both.
    """

    async def page(self, query: FileQuery) -> Sequence[KeptFile]:
        """The newest first."""
        ...

    async def find(self, owner: UUID, file_id: UUID) -> KeptFile | None:
        """None for another owner's as well."""
        ...

    async def release(self, owner: UUID, file_id: UUID, client: str | None) -> Released:
        """The owner no longer keeps this one; the same content under another name stays. `client` is who
        asked, for the upload log."""
        ...

    async def expired(self, after: Place | None, limit: int) -> Sequence[KeptFile]:
        """What the next `expire` takes, of every owner; what expired first comes first."""
        ...

    async def expire(self, limit: int) -> Released:
        """Release files that have expired, at most so many; not found where there was none."""
        ...

    async def freed(self) -> Freed:
        """What expiring all that has expired would delete."""
        ...
