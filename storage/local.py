"""An object store in a folder of this machine."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from ipld.blocks import Buffer
from storage.local_writer import INCOMING, Directories, LocalWriter, sync_directory, unavailable
from storage.objects import ObjectInfo, ObjectNotFound
from storage.open_files import OpenFiles
from storage.uninterrupted import uninterrupted

# Large enough that system calls do not count, small enough that a thousand slow readers, each
# with one piece waiting in its socket, stay under a megabyte each.
PIECE_BYTES = 256 * 1024
# How far the kernel is asked to read ahead when a read met the disk.
READAHEAD_BYTES = 4 * 1024 * 1024


class _LocalReader:
    def __init__(self, descriptor: int, nowait: _NoWait) -> None:
        status = os.fstat(descriptor)
        self.size = status.st_size
        self.version: object | None = (status.st_size, status.st_mtime_ns, status.st_ino)
        self.descriptor: int | None = descriptor
        self._file = descriptor
        self._nowait = nowait

    async def read(self, start: int, stop: int) -> AsyncGenerator[Buffer, None]:
        position = start
        while position < stop:
            want = min(PIECE_BYTES, stop - position)
            piece = self._nowait.read(self._file, want, position)
            if piece is None:
                piece = await self._read_from_disk(want, position, stop)
            if not piece:
                raise ObjectNotFound(f"the object ends at byte {position}, {stop} were expected")
            yield piece
            position += len(piece)

    async def _read_from_disk(self, want: int, position: int, stop: int) -> bytes:
        def read() -> bytes:
            if hasattr(os, "posix_fadvise"):
                ahead = min(READAHEAD_BYTES, stop - position)
                os.posix_fadvise(self._file, position, ahead, os.POSIX_FADV_WILLNEED)
            return os.pread(self._file, want, position)

        try:
            return await asyncio.to_thread(read)
        except OSError as error:
            if error.errno == errno.EIO:
                # A bad sector is damage to this object, not a store that is away.
                raise ObjectNotFound(f"the disk cannot read byte {position}") from error
            raise unavailable(error, "read") from error


class _NoWait:
    """Reads what is in the page cache, and only that: the event loop never waits for a disk."""

    def __init__(self) -> None:
        self._supported = hasattr(os, "RWF_NOWAIT")

    def read(self, descriptor: int, want: int, position: int) -> Buffer | None:
        if not self._supported:
            return None
        buffer = bytearray(want)
        try:
            got = os.preadv(descriptor, [buffer], position, os.RWF_NOWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            # Any other error comes again, and is said, where the read may wait.
            self._supported = error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
            return None
        # Linux 5.9 and 5.10 say 0 for what is not in the cache: only the read that waits can tell.
        if not got:
            return None
        return buffer if got == want else memoryview(buffer)[:got]


class LocalObjects:
    """Objects are files under `root`; what is being written lies in `root/.incoming`."""

    # Nothing is fetched ahead of what is sent, so a run may be as long as it likes.
    run_bytes = 1024 * 1024 * 1024

    def __init__(self, root: Path, *, open_files: int = 256) -> None:
        self._root = root
        self._files = OpenFiles(open_files)
        self._nowait = _NoWait()
        self._directories = Directories(root)
        incoming = root / INCOMING
        incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_abandoned(incoming)

    @asynccontextmanager
    async def create(self, key: str, head_size: int = 0) -> AsyncGenerator[LocalWriter, None]:
        try:
            writer = LocalWriter(self._root, key, head_size, self._directories)
        except OSError as error:
            raise unavailable(error, "begin an object") from error
        try:
            yield writer
        finally:
            # A step that has begun comes to its end: it may be all that keeps the file open.
            await uninterrupted(writer.abort())

    @asynccontextmanager
    async def open(
        self, key: str, first: tuple[int, int] | None = None
    ) -> AsyncGenerator[_LocalReader, None]:
        try:
            file = self._files.acquire(key, self._root / key)
        except FileNotFoundError as error:
            raise ObjectNotFound(key) from error
        except OSError as error:
            raise unavailable(error, "open an object") from error
        try:
            yield _LocalReader(file.descriptor, self._nowait)
        finally:
            file.release()

    async def head(self, key: str) -> ObjectInfo:
        try:
            status = await asyncio.to_thread((self._root / key).stat)
        except FileNotFoundError as error:
            raise ObjectNotFound(key) from error
        except OSError as error:
            raise unavailable(error, "look at an object") from error
        return ObjectInfo(key, status.st_size, status.st_mtime)

    async def delete(self, key: str) -> None:
        def remove() -> None:
            path = self._root / key
            with suppress(FileNotFoundError):
                path.unlink()
                sync_directory(path.parent)

        try:
            await asyncio.to_thread(remove)
        except OSError as error:
            raise unavailable(error, "delete an object") from error
        finally:
            self._files.drop(key)

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectInfo]:
        # One directory at a time, so that millions of objects are never in memory at once.
        waiting = list(await asyncio.to_thread(_scan, self._root, ""))
        while waiting:
            entry = waiting.pop()
            if isinstance(entry, ObjectInfo):
                if entry.key.startswith(prefix) and entry.key > after:
                    yield entry
            elif (entry.startswith(prefix) or prefix.startswith(entry)) and not _is_before(entry, after):
                waiting += await asyncio.to_thread(_scan, self._root, entry)

    async def remove_unfinished(self, older_than: float) -> int:
        # Whose lock is gone is dead, however young.
        return await asyncio.to_thread(_remove_abandoned, self._root / INCOMING)

    async def aclose(self) -> None:
        """Close the descriptors that are kept open."""
        self._files.close()


def _is_before(directory: str, key: str) -> bool:
    """Whether nothing in the directory can come after the key."""
    return directory < key and not key.startswith(directory)


def _scan(root: Path, directory: str) -> list[ObjectInfo | str]:
    """The objects and the directories (with a `/` at the end) in one directory, last key first."""
    found: dict[str, ObjectInfo | str] = {}
    with suppress(FileNotFoundError), os.scandir(root / directory) as entries:
        for entry in entries:
            key = directory + entry.name
            if entry.is_dir(follow_symlinks=False):
                found[key + "/"] = key + "/"
                continue
            with suppress(FileNotFoundError):
                status = entry.stat()
                found[key] = ObjectInfo(key, status.st_size, status.st_mtime)
    found.pop(f"{INCOMING}/", None)
    return [found[key] for key in sorted(found, reverse=True)]


def _remove_abandoned(incoming: Path) -> int:
    """Remove what uploads of killed processes left; those under way hold their lock."""
    removed = 0
    for path in incoming.iterdir():
        with suppress(OSError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                removed += 1
            finally:
                os.close(descriptor)
    return removed
