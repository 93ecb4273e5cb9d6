"""A file of the local store in the making: hidden and locked, then durable, then visible."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ipld.blocks import Buffer
from ipld.cid import Cid
from ipld.errors import StoreFull, StoreUnavailable
from storage.objects import Receipt
from storage.past_the_cache import ALIGNMENT, PastTheCache
from storage.writeback import begin_writeback

INCOMING = ".incoming"
# Of a file that is longer, what follows is not kept in memory by being written: smaller ones are often read
# as soon as they are there.
CACHED_BYTES = 32 * 1024 * 1024
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def unavailable(error: OSError, doing: str) -> StoreUnavailable:
    """What a failed system call means to the rest of the program."""
    if error.errno in _FULL:
        return StoreFull(f"the storage folder is full: {error.strerror}")
    return StoreUnavailable(f"the storage folder failed to {doing}: {error.strerror}")


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Directories:
    """Directories below `root` that are known to be there after a crash."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._durable = {root}

    def make(self, directory: Path) -> None:
        """Make `directory`, each entry on the way durable in its parent, whoever made it."""
        if directory in self._durable and directory.is_dir():
            return
        if directory != self._root:
            self.make(directory.parent)
        with suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        sync_directory(directory.parent)
        self._durable.add(directory)


def _create_locked(incoming: Path) -> tuple[Path, int]:
    """A new file that says by its lock that its upload is alive.

    The kernel drops the lock with the process, so that whoever starts next can remove what a killed
    process left. One that starts between the two steps here may do so too early: then once more.
    """
    while True:
        path = incoming / uuid.uuid4().hex
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return path, descriptor
        os.close(descriptor)


class LocalWriter:
    """Threads do the work and may outlive a caller that is cancelled; `_lock` lets them take turns,
    so that no descriptor is closed, and its number given to another file, under a running write."""

    def __init__(self, root: Path, key: str, head_size: int, directories: Directories) -> None:
        self._target = root / key
        self._head_size = head_size
        self._directories = directories
        self._size = head_size
        self._lock = threading.Lock()
        self._closed = False
        self._path, self._descriptor = _create_locked(root / INCOMING)
        self._past_the_cache = PastTheCache(self._path)

    async def write(self, data: Buffer) -> None:
        await self._in_thread(lambda: self._write_all(data, self._size), "write")
        self._size += len(data)

    async def commit(self, head: bytes, root: Cid | None = None) -> Receipt:
        if len(head) != self._head_size:
            raise ValueError(f"the head has {len(head)} bytes, {self._head_size} were announced")
        await self._in_thread(lambda: self._make_durable(head), "store an object durably")
        return Receipt()

    async def abort(self) -> None:
        if not self._closed:
            await asyncio.to_thread(self._discard)

    def _write_all(self, data: Buffer, offset: int) -> None:
        view = memoryview(data)
        done = 0
        with self._lock:
            self._refuse_closed()
            if offset >= CACHED_BYTES:
                done = min(-offset % ALIGNMENT, len(view))
                self._write_cached(view[:done], offset)
                done += self._past_the_cache.write(view[done:], offset + done)
            self._write_cached(view[done:], offset + done)

    def _write_cached(self, view: memoryview, offset: int) -> None:
        written = 0
        while written < len(view):
            written += os.pwrite(self._descriptor, view[written:], offset + written)
        # Of no bytes it would be everything up to the end of the file (sync_file_range(2)).
        if written:
            begin_writeback(self._descriptor, offset, written)

    def _make_durable(self, head: bytes) -> None:
        # A failed fsync may have thrown dirty pages away and cleared the error, so it is never
        # tried again: the file is dropped and the upload fails.
        self._write_all(head, 0)
        with self._lock:
            self._refuse_closed()
            os.fsync(self._descriptor)
            self._directories.make(self._target.parent)
            self._path.rename(self._target)
            try:
                sync_directory(self._target.parent)
            except OSError:
                self._target.unlink()
                raise
            self._close()

    def _discard(self) -> None:
        with self._lock:
            if not self._closed:
                with suppress(OSError):
                    self._path.unlink()
                self._close()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise OSError(errno.EBADF, "the upload was given up")

    def _close(self) -> None:
        self._closed = True
        self._past_the_cache.close()
        with suppress(OSError):
            os.close(self._descriptor)

    async def _in_thread(self, work: Callable[[], None], doing: str) -> None:
        # Shielded, and awaited by whoever drops the draft: what has begun comes to its end.
        task = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            await asyncio.shield(task)
        except OSError as error:
            raise unavailable(error, doing) from error
