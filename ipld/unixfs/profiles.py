"""UnixFS CID profiles (IPIP-0499): the parameters that decide which CID an input gets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

KIB = 1024


class Estimate(Enum):
    """How a directory is measured against the HAMT threshold (IPIP-0499, UnixFS parameters)."""

    LINKS_BYTES = "links-bytes"
    BLOCK_BYTES = "block-bytes"


@dataclass(frozen=True, slots=True)
class Profile:
    """`width` is links per file node; a directory above `shard_threshold` bytes becomes a HAMT."""

    name: str
    cid_version: int
    raw_leaves: bool
    chunk_size: int
    width: int
    fanout: int = 256
    shard_threshold: int = 256 * KIB
    estimate: Estimate = Estimate.BLOCK_BYTES

    def for_metadata(self) -> Profile:
        """What files get that have a mode or a time: Kubo makes no raw leaves then, not of any file."""
        return replace(self, raw_leaves=False)


UNIXFS_V1_2025 = Profile("unixfs-v1-2025", cid_version=1, raw_leaves=True, chunk_size=1024 * KIB, width=1024)
UNIXFS_V0_2015 = Profile(
    "unixfs-v0-2015",
    cid_version=0,
    raw_leaves=False,
    chunk_size=256 * KIB,
    width=174,
    estimate=Estimate.LINKS_BYTES,
)
PROFILES = {profile.name: profile for profile in (UNIXFS_V1_2025, UNIXFS_V0_2015)}
