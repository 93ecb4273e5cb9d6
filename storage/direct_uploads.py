"""Bytes that go straight into the bucket, and out of it, by addresses that are good for some hours."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID, uuid4

from ipld.blocks import Buffer
from ipld.cid import Cid
from ipld.errors import BlockCorrupt, StoreUnavailable
from storage.index import Index, Layout, StoredObject
from storage.objects import INCOMING, ObjectNotFound, ObjectStore
from storage.transactions import Pool, unavailable_is_said
from storage.upload_log import plain

# What S3 takes in one request.
MAX_SIZE = 5 * 1024**3
# Seconds: SigV4 knows no longer time than a week.
LONGEST_ADDRESS = 7 * 86400

_BEGIN = """
INSERT INTO direct_uploads (id, owner, key, name, size, content_type, profile, lifetime, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now() + make_interval(secs => $9)) RETURNING expires_at
"""
_FIND = """
SELECT id, owner, key, name, size, content_type, profile, lifetime, expires_at, file_id, expires_at <= now()
FROM direct_uploads WHERE id = $1 AND owner = $2
"""
_PRUNE = "DELETE FROM direct_uploads WHERE expires_at < now() - make_interval(secs => $1)"


class Signer(Protocol):
    """What a store can do whose objects others reach by themselves. The addresses carry a signature:
    whoever has one may do this one thing for so many seconds."""

    async def upload_address(self, key: str, size: int, content_type: str | None, seconds: int) -> str:
        """For a PUT of exactly so many bytes, and of that type if there is one."""
        ...

    async def download_address(self, key: str, disposition: str, seconds: int) -> str:
        """For a GET that is answered with this Content-Disposition."""
        ...


class NotUploaded(Exception):
    """Nothing has come into the bucket yet."""


class WrongSize(Exception):
    """What came is not as long as was said."""


class StoredAsCar(Exception):
    """The bucket has no object of ours that is the file itself."""


@dataclass(frozen=True, slots=True)
class WantedUpload:
    """What a client wants to put into the bucket; `size` in bytes, `lifetime` in seconds or for ever."""

    owner: UUID
    name: str
    size: int
    profile: str
    content_type: str | None = None
    lifetime: float | None = None


@dataclass(frozen=True, slots=True)
class DirectUpload:
    """An upload that was begun; `file_id` is the file that it became."""

    id: UUID
    wanted: WantedUpload
    key: str
    expires_at: datetime
    file_id: UUID | None = None
    has_expired: bool = False


class DirectUploads:
    """The bytes come under a key of their own, and are read, hashed and stored anew when the client says
    that they are there. They cannot stay where they are: the address can write until it ends, and others
    may rest on what is stored here.

    Every method raises StoreUnavailable.
    """

    def __init__(self, pool: Pool, objects: ObjectStore, index: Index, signer: Signer) -> None:
        self._pool = pool
        self._objects = objects
        self._index = index
        self._signer = signer

    async def begin(self, wanted: WantedUpload, seconds: int) -> tuple[DirectUpload, str]:
        """The upload, and the address to PUT to for so many seconds."""
        upload_id, name = uuid4(), uuid4().hex
        key = f"{INCOMING}{name[:2]}/{name}"
        # Noted as unsettled until the address has ended: then the sweep removes what is there, for sure.
        await self._index.begin(key, lasting=seconds)
        row = (upload_id, wanted.owner, key, plain(wanted.name), wanted.size, wanted.content_type)
        async with unavailable_is_said():
            expires_at = await self._pool.fetchval(_BEGIN, *row, wanted.profile, wanted.lifetime, seconds)
        address = await self._signer.upload_address(key, wanted.size, wanted.content_type, seconds)
        return DirectUpload(upload_id, wanted, key, expires_at), address

    async def find(self, owner: UUID, upload_id: UUID) -> DirectUpload | None:
        """None for another owner's as well."""
        async with unavailable_is_said():
            row = await self._pool.fetchrow(_FIND, upload_id, owner)
        if row is None:
            return None
        _, _, key, name, size, content_type, profile, lifetime, expires_at, file_id, has_expired = row
        wanted = WantedUpload(owner, name, size, profile, content_type, lifetime)
        return DirectUpload(upload_id, wanted, key, expires_at, file_id, has_expired)

    async def read(self, upload: DirectUpload) -> AsyncGenerator[Buffer, None]:
        """The bytes that came. Raises NotUploaded and WrongSize."""
        size = upload.wanted.size
        try:
            async with self._objects.open(upload.key) as source:
                if source.size != size:
                    raise WrongSize(f"{size} bytes were announced, and {source.size} are in the bucket")
                async with aclosing(source.read(0, size)) as pieces:
                    async for piece in pieces:
                        yield piece
        except ObjectNotFound as error:
            raise NotUploaded("nothing has come into the bucket for this upload") from error

    async def finish(self, upload: DirectUpload, file_id: UUID | None) -> None:
        """Note what it became. The sweep comes for the object in any case; it costs less if it goes now."""
        async with unavailable_is_said():
            await self._pool.execute(
                "UPDATE direct_uploads SET file_id = $2 WHERE id = $1", upload.id, file_id
            )
        try:
            await self._objects.delete(upload.key)
        except StoreUnavailable:
            return

    async def download_address(self, root: Cid, disposition: str, seconds: int) -> tuple[str, datetime]:
        """Where the file with that root is, and until when. Raises StoredAsCar and BlockCorrupt."""
        found = await self._index.find(root)
        if found is None or found.layout is not Layout.FILE:
            raise StoredAsCar(f"{root} is not in the bucket as a file of its own: read it at /ipfs/{root}")
        if found.theirs:
            raise StoredAsCar(f"{root} lies where others may change it: read it at /ipfs/{root}")
        if found.damaged:
            await self._check_damaged(found)
        address = await self._signer.download_address(found.key, disposition, seconds)
        return address, datetime.fromtimestamp(datetime.now(UTC).timestamp() + seconds, UTC)

    async def _check_damaged(self, found: StoredObject) -> None:
        """What was not there once, for a moment, is marked as damaged until it is uploaded again."""
        with suppress(ObjectNotFound):
            if (await self._objects.head(found.key)).size == found.size:
                return
        raise BlockCorrupt(f"the object of {found.root} in the bucket is damaged: upload it again")


async def prune(pool: Pool, keep_seconds: float) -> None:
    """Forget uploads whose address ended so long ago."""
    async with unavailable_is_said():
        await pool.execute(_PRUNE, keep_seconds)
