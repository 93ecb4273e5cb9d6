"""Whose content it is, as it comes in and as it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ipld.cid import Cid
from ipld.unixfs.profiles import UNIXFS_V1_2025, Profile
from storage.objects import NO_RECEIPT, Receipt

# With the root and the owner it stands in an index of Postgres, of which a row has 2704 bytes at most.
MAX_NAME_CHARACTERS = 500


def storable_name(name: str) -> str:
    """Names come from clients, and Postgres takes neither NUL nor half a surrogate pair, nor any length."""
    return name[:MAX_NAME_CHARACTERS].encode("utf-8", "replace").decode().replace("\0", "?")


@dataclass(frozen=True, slots=True)
class Owned:
    """Whose upload it is, what it is called, and the profile that decides its CID.

    `lifetime` is for how many seconds it is kept, None for ever; `client` is where it comes from, for the
    upload log, None where it is not to be logged.
    """

    owner: UUID
    name: str
    profile: Profile = UNIXFS_V1_2025
    lifetime: float | None = None
    client: str | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """What is now kept. `size` is that of the file, or of all blocks of a directory, or of the CAR.

    `more` are the other roots of a CAR; `receipt` is what the store said. `file_id` is the id of the file,
    None where there was nothing to keep; it goes after `expires_at`, None for never.
    """

    cid: Cid
    size: int
    name: str
    profile: str | None
    is_directory: bool = False
    more: Sequence[Cid] = ()
    receipt: Receipt = NO_RECEIPT
    file_id: UUID | None = None
    expires_at: datetime | None = None
