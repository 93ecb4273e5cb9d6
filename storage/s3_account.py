"""Which bucket, with which key, and the bounds of the traffic to it."""

from __future__ import annotations

from dataclasses import dataclass, field

MIB = 1024 * 1024
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
MAX_PARTS = 10_000
MIN_PART_BYTES = 5 * MIB


@dataclass(frozen=True, slots=True)
class S3Account:
    """A bucket and a key that may read and write it."""

    endpoint_url: str
    region: str
    bucket: str
    key_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class S3Limits:
    """Times in seconds, sizes in bytes.

    `timeout` is the longest wait for an answer to begin, and for the next bytes of it. At most
    `parts_at_once` parts of all uploads together are on their way, each in memory.
    """

    connect_timeout: float = 5.0
    timeout: float = 10.0
    complete_timeout: float = 300.0
    part_bytes: int = 8 * MIB
    parts_at_once: int = 8


def part_bytes_for(largest_upload: int, wanted: int) -> int:
    """`wanted`, or more where the largest upload would not fit into the parts that S3 allows.

    All parts but the last have one size, as some servers demand. A tenth of the parts is left for what
    a CAR adds to the bytes of an upload.
    """
    needed = -(-largest_upload // (MAX_PARTS * 9 // 10))
    return max(wanted, -(-needed // MIB) * MIB)
