"""Objects in a bucket of Filebase's: what it publishes on IPFS is compared with the CID that we give out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from enum import StrEnum

from ipld.blocks import Buffer
from ipld.cid import Cid
from ipld.errors import StoreUnavailable
from storage.filebase_bucket import IMPORT_CAR, PROBE_KEY, Bucket, BucketKind
from storage.objects import OUR_KEY, NotPublished, ObjectInfo, Receipt
from storage.s3 import S3Objects
from storage.s3_errors import StoreRefused
from storage.s3_reader import S3Reader
from storage.s3_writer import S3Writer

logger = logging.getLogger(__name__)

# Imported copies, where the imported object itself cannot be read.
COPIES = "published/"


class Import(StrEnum):
    """How content gets onto IPFS: files as they are, or everything as CARs, read back or copied."""

    PLAIN = "plain"
    CAR = "car"
    BOTH = "both"


class FilebaseObjects:
    """An ObjectStore. `on_cid` is told how each object was published: same, different, missing.

    With `plain` a CID that differs is reported; with `car` and `both` it fails the upload. A bucket that
    gives no CIDs is a plain S3 bucket, and is used as that with `plain`.
    """

    def __init__(
        self,
        s3: S3Objects,
        mode: Import,
        *,
        cid_timeout: float,
        on_cid: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.bucket = Bucket(s3, cid_timeout=cid_timeout, patient=mode is not Import.PLAIN)
        self.mode = mode
        self._s3 = s3
        self._cid_timeout = cid_timeout
        self._on_cid = on_cid

    @property
    def run_bytes(self) -> int:
        return self._s3.run_bytes

    async def check_mode(self) -> None:
        """Raises StoreRefused where the bucket cannot do what the mode promises, and StoreUnavailable
        where it cannot be asked."""
        self._refuse_misfit(await self.bucket.kind())

    @asynccontextmanager
    async def create(self, key: str, head_size: int = 0) -> AsyncGenerator[FilebaseWriter, None]:
        kind = await self.bucket.kind()
        self._refuse_misfit(kind)
        is_import = kind.publishes and head_size > 0
        has_copy = is_import and (self.mode is Import.BOTH or not kind.returns_cars)
        async with AsyncExitStack() as stack:
            metadata = IMPORT_CAR if is_import and not has_copy else None
            readable = await stack.enter_async_context(self._s3.create(key, head_size, metadata))
            copy: S3Writer | None = None
            if has_copy:
                copy = await stack.enter_async_context(self._s3.create(COPIES + key, head_size, IMPORT_CAR))
            yield FilebaseWriter(self, kind, readable, copy)

    @asynccontextmanager
    async def open(self, key: str, first: tuple[int, int] | None = None) -> AsyncGenerator[S3Reader, None]:
        async with self._s3.open(key, first) as reader:
            yield reader

    async def head(self, key: str) -> ObjectInfo:
        return await self._s3.head(key)

    async def metadata(self, key: str) -> Mapping[str, str]:
        """What is stored with an object; `cid` among it where the bucket gives one."""
        return (await self._s3.describe(key)).metadata

    async def delete(self, key: str) -> None:
        kind = self.bucket.known_kind
        if kind is None or kind.publishes:
            await self._s3.delete(COPIES + key)
        await self._s3.delete(key)

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectInfo]:
        async for info in self._s3.list(prefix, after):
            if info.key != PROBE_KEY and not info.key.startswith(COPIES):
                yield info

    async def remove_unfinished(self, older_than: float) -> int:
        return await self._s3.abort_stale(older_than, _is_ours)

    async def verdict(self, writer: S3Writer, kind: BucketKind, root: Cid | None) -> Receipt:
        """How a committed object was published. Raises NotPublished where the mode demands the root."""
        if not kind.publishes:
            return Receipt()
        try:
            found = await self.bucket.published(writer.key, writer.answered, self._cid_timeout)
        except StoreUnavailable as error:
            logger.warning("nobody could say under which CID %s was published: %s", writer.key, error)
            found = None
        outcome = _outcome(found, root)
        self._on_cid(outcome)
        if outcome == "same":
            return Receipt(publishes=True, published=found)
        logger.warning("%s is %s here, and Filebase published it as %s", writer.key, root, found)
        if self.mode is not Import.PLAIN and root is not None:
            raise NotPublished(f"Filebase published {found or 'nothing yet'} where {root} was uploaded")
        return Receipt(publishes=True, published=found)

    def _refuse_misfit(self, kind: BucketKind) -> None:
        if self.mode is Import.PLAIN:
            return
        if not kind.publishes:
            raise StoreRefused(
                f"FILEBASE_IMPORT={self.mode} needs a bucket that publishes on IPFS, and this one is plain"
                f" S3: it gave no CID within {self._cid_timeout:g} s"
            )
        if self.mode is Import.CAR and not kind.returns_cars:
            raise StoreRefused(
                "FILEBASE_IMPORT=car needs a bucket that gives imported CARs back, which this one does not;"
                " set FILEBASE_IMPORT=both"
            )


class FilebaseWriter:
    """Writes an object, and the copy of it that is imported where there is one."""

    def __init__(
        self, store: FilebaseObjects, kind: BucketKind, readable: S3Writer, copy: S3Writer | None
    ) -> None:
        self._store = store
        self._kind = kind
        self._writers = [readable] if copy is None else [readable, copy]

    async def write(self, data: Buffer) -> None:
        await _all_ended([writer.write(data) for writer in self._writers])

    async def commit(self, head: bytes, root: Cid | None = None) -> Receipt:
        """Raises NotPublished; nothing stays in the bucket then."""
        try:
            await _all_ended([writer.commit(head) for writer in self._writers])
            return await self._store.verdict(self._writers[-1], self._kind, root)
        except BaseException:
            await self._remove()
            raise

    async def abort(self) -> None:
        for writer in self._writers:
            await writer.abort()

    async def _remove(self) -> None:
        with suppress(StoreUnavailable):
            await self._store.delete(self._writers[0].key)


async def _all_ended(works: Sequence[Coroutine[object, object, object]]) -> None:
    """Raises the first failure; the others are cancelled then, and have ended when this returns: nothing
    is written behind the back of whoever cleans up."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _is_ours(key: str) -> bool:
    return OUR_KEY.fullmatch(key.removeprefix(COPIES)) is not None


def _outcome(found: Cid | None, root: Cid | None) -> str:
    if found is None:
        return "missing"
    return "same" if root is not None and found.to_v1() == root.to_v1() else "different"
