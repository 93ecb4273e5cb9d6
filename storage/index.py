"""The index: in which object, and where in it, each block lies, and who keeps what."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Protocol
from uuid import UUID

from ipld.cid import DAG_PB, Cid
from ipld.hashes import SHA2_256
from storage.objects import NO_RECEIPT, Receipt

# Who owns what the command line and `reindex` bring in: no API key.
OPERATOR = UUID(int=0)


class Layout(IntEnum):
    """How the bytes of an object are to be read."""

    FILE = 1  # a single file as it is; its leaves are spans of it
    CAR = 2  # a CARv1; every block is a span of it
    DAG = 3  # a CAR that is the DAG of its root: depth first, each block once, nothing else
    TREE = 4  # such a DAG in which no block is linked to twice


@dataclass(frozen=True, slots=True)
class BlockRow:
    """One block of an object that is about to be indexed.

    The block is the span `offset`, `length` of the object, or that span in the dag-pb wrapping of
    a UnixFS leaf (`wrapped`), or `inline`, bytes that stand in the index and nowhere else.
    """

    multihash: bytes
    offset: int
    length: int
    wrapped: bool = False
    inline: bytes | None = None


@dataclass(frozen=True, slots=True)
class Location:
    """Where one copy of a block is; the fields are those of BlockRow, and the object's key."""

    object_id: int
    key: str
    layout: Layout
    offset: int
    length: int
    wrapped: bool = False
    inline: bytes | None = None

    @property
    def stop(self) -> int:
        """The first byte of the object after the span."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class NewObject:
    """An object that is durable in the store and not yet in the index.

    `needs` are the ids of the objects that hold the blocks which its DAG links to and it lacks;
    `partial` says that nothing here holds some of them, or that nobody looked. `distinct` promises
    that no two rows are of one block. `receipt` is what the store said. `theirs`: somebody else put it
    there and may change it at any time; it is never deleted, and no upload of ours rests on it.
    """

    key: str
    layout: Layout
    root: Cid
    size: int
    rows: Collection[BlockRow]
    profile: str | None = None
    needs: frozenset[int] = frozenset()
    partial: bool = False
    distinct: bool = False
    receipt: Receipt = NO_RECEIPT
    theirs: bool = False

    @property
    def published(self) -> bool:
        """Whether the store said that it publishes the object under its root."""
        under = self.receipt.published
        return under is not None and under.to_v1() == self.root.to_v1()


@dataclass(frozen=True, slots=True)
class NewUpload:
    """Who keeps a root, under which name. `size` is what the owner uploaded, in bytes.

    `lifetime` is for how many seconds it is kept, None for ever. Where the owner keeps the same root
    under the same name already, the longer of both counts. `client` is where it came from, for the
    upload log; None where it is not to be logged.
    """

    owner: UUID
    root: Cid
    name: str
    size: int
    lifetime: float | None = None
    client: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """An upload as it is kept now: the id of the file, and when it goes (None: never)."""

    file_id: UUID
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """`surplus` are keys of new objects whose root an older, sound object already has, and of older ones
    that a new one replaced: they are not in the index and wait to be deleted. `kept` are the uploads, in
    the order that they came in."""

    object_id: int
    surplus: Sequence[str] = ()
    kept: Sequence[Kept] = ()


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as the index knows it; `theirs` and `published` are those of NewObject."""

    object_id: int
    key: str
    layout: Layout
    root: Cid
    size: int
    profile: str | None = None
    damaged: bool = False
    partial: bool = False
    theirs: bool = False
    published: bool = False


@dataclass(frozen=True, slots=True)
class Closure:
    """The ids of objects that together hold the DAGs under some blocks, as far as they are here;
    `complete` where nothing of them is missing."""

    objects: frozenset[int] = frozenset()
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Released:
    """What a release left without an owner. The keys are no longer in the index, and wait to be deleted:
    none of them is of others. `files` are the uploads that went."""

    found: bool
    keys: Sequence[str] = field(default=())
    files: int = 0


class UploadGone(Exception):
    """The sweep took the upload's object away before it was committed, or something that it needs
    was deleted."""


def forms(root: Cid) -> list[bytes]:
    """The CIDs under which the same root may be stored: the same DAG has a version 0 and a 1."""
    known = {root.raw, root.to_v1().raw}
    if root.codec == DAG_PB and root.hash_code == SHA2_256:
        known.add(root.multihash)
    return sorted(known)


def falls_short(old: StoredObject, new: NewObject) -> bool:
    """Whether the new object is wanted although there is the old one with the same root: that is damaged, or
    theirs, which they may change, or it is not published under the root where the new one is."""
    if old.damaged or (old.theirs and not new.theirs):
        return True
    return new.published and not old.published and not new.partial


class Index(Protocol):
    """Every method raises StoreUnavailable when the index cannot be asked.

    An object is *unsettled* between `begin` and `commit`, and from `release` until `settle`: it may
    exist in the store although the index does not point to it. The sweep deletes only such
    objects, so that a store is never emptied because an index was lost.
    """

    async def locate(self, multihashes: Sequence[bytes]) -> Mapping[bytes, Sequence[Location]]:
        """Every known copy (at most eight) of each block, sound objects first; one query."""
        ...

    async def begin(self, key: str, lasting: float = 0) -> None:
        """Note that an object is about to be written under `key`; its age is counted from `lasting`
        seconds after now, also where the key was unsettled already."""
        ...

    async def commit(self, objects: Sequence[NewObject], upload: NewUpload, *more: NewUpload) -> Committed:
        """Index the objects and give the last one's DAG to the owner, in one transaction.

        The last object is the one with the upload's root; it needs all the others. `more` are
        further roots that lie in it, each to be kept and let go by itself. Raises UploadGone.
        """
        ...

    async def adopt(self, new: NewObject, upload: NewUpload, *more: NewUpload) -> Committed:
        """As `commit`, for an object that was found in the store and never begun: it is never
        unsettled on the way, so that no sweep deletes it if this is cut short. Raises UploadGone
        where the key belongs to something else that is under way, or is in the index already."""
        ...

    async def keep(self, upload: NewUpload, objects: frozenset[int]) -> Kept:
        """Give these objects, which hold all that is under the upload's root, to the owner as well.
        Raises UploadGone where one of them is there no more."""
        ...

    async def find(self, root: Cid) -> StoredObject | None:
        """The sound object with that root (in either CID version), whole rather than partial, or
        else a damaged one."""
        ...

    async def release(self, owner: UUID, root: Cid, client: str | None = None) -> Released:
        """The owner no longer keeps the root; objects that nobody holds leave the index.

        `client` is who asked, for the upload log; None where it is not to be logged."""
        ...

    async def closure(self, multihashes: Sequence[bytes]) -> Closure:
        """What holds the DAGs under these blocks; one query."""
        ...

    async def overwritten(self, key: str, root: Cid | None, owner: UUID, name: str) -> bool:
        """They have content with that root under this key now (None: nothing of use). False where the
        index says so already. What was there goes, with the owner's files of that name; where somebody
        else holds it, it stays in the index as damaged until it is uploaded again."""
        ...

    async def mark_damaged(self, object_id: int) -> None:
        """Bytes of the object were found not to hash to what the index says."""
        ...

    async def unsettled(self, older_than: float) -> Sequence[str]:
        """Keys that have been unsettled for that many seconds."""
        ...

    async def abandon(self, key: str) -> bool:
        """Claim an unsettled key for deletion: its upload can no longer commit."""
        ...

    async def settle(self, key: str) -> None:
        """The object under an unsettled key is known to be gone from the store."""
        ...

    async def known(self, keys: Sequence[str]) -> frozenset[str]:
        """Those of the keys that the index points to."""
        ...
