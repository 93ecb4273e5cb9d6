"""Directories in the making."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from dataclasses import dataclass

from ipld import car
from ipld.blocks import Buffer
from ipld.errors import InvalidPath
from ipld.unixfs.directory import build_symlink, build_tree
from ipld.unixfs.node import NO_METADATA, Link, Metadata
from ipld.unixfs.profiles import Profile
from storage.drafts import CarDraft, Draft, car_object, head_size
from storage.index import NewObject


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One path of a directory: a file's `source`, or a symlink's `target`, or neither: a folder.

    A folder may come again, and then what it says last counts; the one without a path is the root.
    """

    path: str
    source: AsyncIterable[Buffer] | None = None
    target: str | None = None
    metadata: Metadata = NO_METADATA


class Tree:
    """The CAR object of a directory, and the links of its files by path."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self.head_size = head_size(profile.cid_version)
        self.paths: dict[str, Link | None] = {}
        self._folders: dict[str, Metadata] = {}
        self.draft: Draft | None = None
        self._car: CarDraft | None = None

    def begin(self, draft: Draft) -> None:
        self.draft = draft
        self._car = CarDraft(draft.writer, self.head_size)

    def put(self, path: str, link: Link | None) -> None:
        if path in self.paths:
            raise InvalidPath(f"{path!r} is there twice")
        self.paths[path] = link

    async def add(self, entry: TreeEntry) -> None:
        assert self._car is not None
        if entry.source is not None:
            built = await self._car.add_file(entry.source, self._profile, entry.metadata)
            self.put(entry.path, Link("", built.root, built.tsize))
        elif entry.target is not None:
            block = build_symlink(entry.target, self._profile, entry.metadata)
            await self._car.add(block.cid, block.data)
            self.put(entry.path, Link("", block.cid, len(block.data)))
        else:
            self._add_folder(entry)

    def _add_folder(self, entry: TreeEntry) -> None:
        if entry.path and self.paths.setdefault(entry.path, None) is not None:
            raise InvalidPath(f"{entry.path!r} is a file and a directory")
        if entry.metadata != NO_METADATA:
            self._folders[entry.path] = entry.metadata

    async def finish(self) -> tuple[Link, NewObject]:
        assert self._car is not None
        assert self.draft is not None
        built = await asyncio.to_thread(build_tree, self.paths, self._profile, self._folders)
        await self._car.add_all(built.blocks)
        return built.root, await car_object(
            self.draft, self._car, built.root.cid, car.header([built.root.cid])
        )
