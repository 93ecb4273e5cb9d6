"""How a file that is uploaded alone is stored: as its own bytes, or as a CAR."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from dataclasses import dataclass

from ipld import car
from ipld.blocks import Buffer
from ipld.cid import Cid
from ipld.unixfs.profiles import PROFILES, UNIXFS_V0_2015, UNIXFS_V1_2025, Profile
from storage.drafts import CarDraft, Draft, FileDraft, car_object, file_object, head_size
from storage.index import Layout, NewObject
from storage.refused import CidMismatch


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A finished object; `size` is that of the file, `tsize` what a link to it says."""

    new: NewObject
    size: int
    tsize: int
    profile: str


@dataclass(frozen=True, slots=True)
class SingleFiles:
    """With `as_cars` a store that publishes CARs by their root gives every file the CID that we do."""

    as_cars: bool = False

    def place(self, profile: Profile) -> tuple[str, int]:
        """The kind of key, and the length of the object's head."""
        return ("cars", head_size(profile.cid_version)) if self.as_cars else (f"files/{profile.name}", 0)

    async def store(self, draft: Draft, source: AsyncIterable[Buffer], profile: Profile) -> StoredFile:
        """Write and commit the object."""
        if not self.as_cars:
            new, tsize = await file_object(draft, source, profile)
            return StoredFile(new, new.size, tsize, profile.name)
        blocks = CarDraft(draft.writer, head_size(profile.cid_version))
        built = await blocks.add_file(source, profile)
        new = await car_object(draft, blocks, built.root, car.header([built.root]))
        return StoredFile(new, built.size, built.tsize, profile.name)

    def place_exactly(self, cid: Cid) -> tuple[str, int]:
        """As `place`, for a file of which the CID is known before its bytes are."""
        return self.place(_likely(cid)) if self.as_cars else (f"files/{cid.to_v1()}", 0)

    async def store_exactly(self, draft: Draft, cid: Cid, source: AsyncGenerator[Buffer, None]) -> StoredFile:
        """As `store`; CidMismatch where the bytes are not those of the CID in any profile.

        A CAR is cut while it is written, in one profile alone: the one that makes CIDs of that version.
        """
        async with aclosing(source):
            if not self.as_cars:
                return await _exact_file(draft, cid, source)
            profile = _likely(cid)
            blocks = CarDraft(draft.writer, head_size(profile.cid_version))
            built = await blocks.add_file(source, profile)
            if built.root != cid:
                raise CidMismatch(f"the body does not hash to {cid} in the profile {profile.name}")
            new = await car_object(draft, blocks, cid, car.header([cid]))
            return StoredFile(new, built.size, built.tsize, profile.name)


def _likely(cid: Cid) -> Profile:
    return UNIXFS_V0_2015 if cid.version == 0 else UNIXFS_V1_2025


async def _exact_file(draft: Draft, cid: Cid, source: AsyncGenerator[Buffer, None]) -> StoredFile:
    file = FileDraft(draft.writer, list(PROFILES.values()))
    await file.fill(source)
    for profile, built, rows in await file.finish():
        # The codec counts too: the bytes of a block that has links are no file.
        if built.root.to_v1() == cid.to_v1():
            receipt = await draft.writer.commit(b"", cid)
            new = NewObject(draft.key, Layout.FILE, cid, file.size, rows, profile.name, receipt=receipt)
            return StoredFile(new, file.size, built.tsize, profile.name)
    raise CidMismatch(f"the body does not hash to {cid} in either profile")
