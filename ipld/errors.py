"""Every failure that reading or building content can have, in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipld.cid import Cid


class IpldError(Exception):
    """Base of all content errors; the text may be shown to a client."""


class InvalidCid(IpldError, ValueError):
    """The text or bytes are not a CID that this gateway can read."""


class UnsupportedHash(InvalidCid):
    """The multihash function is not one that this gateway can check."""


class InvalidPath(IpldError, ValueError):
    """The text is not a content path (`/ipfs/<cid>[/path]`, `/ipns/<name>[/path]`)."""


class InvalidCar(IpldError, ValueError):
    """The bytes are not a CAR, or break one of our limits; `offset` is the byte where that shows."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} at byte {offset} of the CAR")
        self.offset = offset


class MalformedBlock(IpldError, ValueError):
    """The bytes of a block do not decode under its codec, or break one of our limits."""


class NotALeaf(MalformedBlock):
    """The block was taken for a leaf of a file, and has children of its own."""


class BlockNotFound(IpldError, LookupError):
    """No place that was asked holds the block."""


class BlockCorrupt(IpldError):
    """Every copy of the block that was found has bytes that do not hash to its CID."""


class NoLink(IpldError, LookupError):
    """The directory is known and has no entry of that name.

    `trail` are the blocks that show it, `roots` the CIDs of the path as far as it goes.
    """

    def __init__(self, message: str, trail: tuple[Cid, ...] = (), roots: tuple[Cid, ...] = ()) -> None:
        super().__init__(message)
        self.trail = trail
        self.roots = roots


class NameNotFound(IpldError, LookupError):
    """The IPNS or DNSLink name leads to no content."""


class NameRecursion(IpldError):
    """More names point to each other than are followed."""


class InvalidName(IpldError, ValueError):
    """The text is not an IPNS name."""


class InvalidKey(IpldError, ValueError):
    """The bytes are not a libp2p key of a kind and size that is taken here."""


class InvalidRecord(IpldError):
    """The bytes are not an IPNS record of that name: malformed, forged, or not signed as V2 asks."""


class ExpiredRecord(InvalidRecord):
    """An IPNS record that is sound, and past its end."""


class NotUnixFs(IpldError):
    """The block is sound but not a UnixFS node, and only UnixFS can answer the request."""


class WrongKind(NotUnixFs):
    """A UnixFS node, but a directory where a file is needed, or the other way round."""


class StoreUnavailable(IpldError):
    """A place that may hold the content cannot be asked now; worth trying again.

    `retry_after` is in whole seconds.
    """

    def __init__(self, message: str, retry_after: int = 10) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StoreFull(StoreUnavailable):
    """There is no room left where the content is to be kept."""


class NameUnavailable(StoreUnavailable):
    """Whoever knows where the name leads gave no usable answer; nothing is known about the name."""


class NameTimeout(NameUnavailable):
    """Whoever knows where the name leads did not answer in time."""


class RecordNotFound(NameUnavailable):
    """An IPNS name of which no place that was asked has a record; others may have one."""
