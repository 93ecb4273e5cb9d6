"""The storage for programs in Python: upload, retrieve, pin and unpin, without HTTP."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from ipld.blocks import BlockReader, Buffer
from ipld.cid import Cid
from ipld.errors import BlockNotFound, InvalidPath, NotUnixFs
from ipld.names import ResolvedName
from ipld.paths import ContentPath, resolve
from ipld.unixfs.profiles import PROFILES
from ipld.unixfs.reader import open_file
from storage.content import Added, Content, Owned
from storage.database import Pool, open_database
from storage.disk_sources import read_file, tree_entries
from storage.epochs import Epochs
from storage.errors import PinningError, RetrieveError, StorageError, UploadError, ValidationError, failing_as
from storage.index import OPERATOR, Index
from storage.packed import PackedBlocks
from storage.places import Folder, OpenPlace, S3Bucket, open_bucket, open_folder
from storage.postgres_index import PostgresIndex

# How the upload log names this way in.
_CLIENT = "python"
_POOL_SIZE = 8
_DATABASE_SECONDS = 30.0

# What can be uploaded: bytes, a stream of them, or a file or a directory by its path.
Source = bytes | bytearray | memoryview | os.PathLike[str] | AsyncIterable[Buffer]


@dataclass(frozen=True, slots=True)
class UploadResult:
    """`size` is in bytes: of a file, or of all blocks of a directory. `key` is the object that holds the
    root. `published` is the CID under which Filebase put it on IPFS, None where it said none."""

    cid: Cid
    size: int
    key: str
    published: Cid | None = None


@dataclass(frozen=True, slots=True)
class State:
    """`breaker` is closed, open (requests fail at once) or half-open. `bucket` says of which kind it is,
    None for a folder. `problem` is why objects cannot be reached now, None where they can."""

    breaker: str
    bucket: str | None
    problem: str | None


class Storage:
    """Content that one owner adds, reads, keeps and lets go. Made by `open_storage`."""

    def __init__(self, place: OpenPlace, index: Index, owned: Owned) -> None:
        self._place = place
        self._index = index
        self._owned = owned
        self.packed = PackedBlocks(place.objects, index)
        self.content = Content(place.objects, index, self.packed, place.files)

    async def upload(self, source: Source, name: str = "", *, profile: str | None = None) -> UploadResult:
        """Store and keep a file, or a directory by its path; without a name it has that of the path.

        `profile` is that of IPIP-0499 which decides the CID: `unixfs-v1-2025` or `unixfs-v0-2015`.
        Raises UploadError and ValidationError; what the source raises comes through as it is.
        """
        owned = replace(self._owned, name=name or _name_of(source))
        if profile is not None:
            if profile not in PROFILES:
                raise ValidationError(f"{profile!r} is none of the profiles {', '.join(PROFILES)}")
            owned = replace(owned, profile=PROFILES[profile])
        with failing_as(UploadError):
            added = await self._add(source, owned)
            stored = await self._index.find(added.cid)
            if stored is None:
                raise BlockNotFound(f"{added.cid} was let go of meanwhile")
        return UploadResult(added.cid, added.size, stored.key, added.receipt.published)

    async def _add(self, source: Source, owned: Owned) -> Added:
        if isinstance(source, os.PathLike):
            path = Path(source)
            if await asyncio.to_thread(path.is_dir):
                return await self.content.add_tree(tree_entries(path), owned)
            return await self.content.add_file(read_file(path), owned)
        if isinstance(source, bytes | bytearray | memoryview):
            return await self.content.add_file(_once(source), owned)
        if not isinstance(source, AsyncIterable):
            raise ValidationError("what is uploaded is bytes, an async iterable of them, or a pathlib.Path")
        return await self.content.add_file(source, owned)

    async def retrieve(
        self, what: Cid | str, start: int = 0, stop: int | None = None
    ) -> AsyncGenerator[Buffer, None]:
        """The bytes `start` up to `stop` of a file, as they come; a span past its end is cut off there.

        `what` is a CID or a path: `bafy…`, `bafy…/a/b.txt`, `/ipfs/bafy…/a%20b.txt`, encoded as in a URL.
        Every byte was checked against its CID. Raises RetrieveError and ValidationError, also half way.
        """
        if start < 0 or (stop is not None and stop < start):
            raise ValidationError(f"{start} up to {stop} is no span of a file")
        with failing_as(RetrieveError):
            file = await open_file(self.packed, await _find(self.packed, what))
            async with aclosing(file.read(start, stop)) as pieces:
                async for piece in pieces:
                    yield piece

    async def pin(self, cid: Cid | str, name: str = "") -> None:
        """Keep what is here already, whoever brought it, with all that is under it; also a part of
        something. Raises PinningError where not all of it is here, and ValidationError."""
        with failing_as(PinningError):
            await self.content.keep(_cid(cid), replace(self._owned, name=name))

    async def unpin(self, cid: Cid | str) -> bool:
        """Keep it no longer, under whatever names; False where it was not kept. What nobody keeps is
        deleted. Raises PinningError and ValidationError."""
        with failing_as(PinningError):
            return await self.content.release(self._owned.owner, _cid(cid), self._owned.client)

    async def state(self) -> State:
        """Whether the objects can be reached. Never raises for the store's sake."""
        told = self._place.state()
        return State(told.get("breaker", "closed"), told.get("bucket"), await self._place.problem())


@asynccontextmanager
async def open_storage(
    place: str | os.PathLike[str] | S3Bucket,
    database: str | os.PathLike[str] | None = None,
    *,
    owner: UUID = OPERATOR,
) -> AsyncGenerator[Storage, None]:
    """A folder, which is the DATA_DIR of a gateway, or a bucket; gateways may run over the same.

    `database` is the URL of a Postgres, or the directory of an embedded one, which is made where there is
    none; a folder has one of its own. Raises StorageError where something cannot be opened.
    """
    if isinstance(place, S3Bucket) and database is None:
        raise ValidationError("a bucket needs a database: a URL, or a directory for an embedded one")
    async with AsyncExitStack() as stack:
        with failing_as(StorageError):
            if isinstance(place, S3Bucket):
                opened = await stack.enter_async_context(open_bucket(place))
                profile = place.profile
            else:
                folder = Folder(Path(place) / "objects")
                opened = await stack.enter_async_context(open_folder(folder))
                profile = folder.profile
                database = Path(place) / "postgres" if database is None else database
            pool = await stack.enter_async_context(_database(database))
            storage = Storage(opened, PostgresIndex(pool), Owned(owner, "", profile, client=_CLIENT))
            # What another process lets go of is forgotten here at once.
            epochs = Epochs(pool, lambda _: storage.packed.forget())
            await stack.enter_async_context(epochs.following())
        yield storage


@asynccontextmanager
async def _database(given: str | os.PathLike[str] | None) -> AsyncGenerator[Pool, None]:
    assert given is not None
    is_url = isinstance(given, str) and "://" in given
    url, directory = (str(given), Path()) if is_url else (None, Path(given))
    async with open_database(url, directory, pool_size=_POOL_SIZE, timeout=_DATABASE_SECONDS) as pool:
        yield pool


class _NoNames:
    async def resolve(self, name: str) -> ResolvedName:
        raise InvalidPath(f"/ipns/{name}: names are followed by gateways alone")


async def _find(blocks: BlockReader, what: Cid | str) -> Cid:
    if isinstance(what, Cid):
        return what
    path = ContentPath.parse(what if what.startswith("/") else f"/ipfs/{what}")
    found = await resolve(_NoNames(), blocks, path)
    if found.remainder:
        raise NotUnixFs(f"{path} leads into a block that is not UnixFS")
    return found.cid


def _cid(given: Cid | str) -> Cid:
    return given if isinstance(given, Cid) else Cid.parse(given)


def _name_of(source: Source) -> str:
    return Path(source).name if isinstance(source, os.PathLike) else ""


async def _once(data: Buffer) -> AsyncGenerator[Buffer, None]:
    yield data
