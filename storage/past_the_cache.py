"""Large files on their way to the disk past the page cache of the kernel.

An upload of gigabytes would push out of it what is read all the time, and finding a fresh page for each
4 KiB costs more time than hashing them.
"""

from __future__ import annotations

import errno
import mmap
import os
from contextlib import suppress
from pathlib import Path

# Of offset, length and memory, where a file system takes such writes at all (open(2), O_DIRECT).
ALIGNMENT = 4096
_BUFFER_BYTES = 2 * 1024 * 1024
_UNSUPPORTED = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP}


class PastTheCache:
    """A second way into a file that is being written. `path` must be there when the first bytes come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._buffer: mmap.mmap | None = None
        self._refused = False

    def write(self, data: memoryview, offset: int) -> int:
        """How many bytes, from the first, were written; the rest is for the other way. None where the file
        system, this process or the place in the file allows none. Raises OSError where the disk fails."""
        if len(data) < ALIGNMENT or offset % ALIGNMENT or not self._is_open():
            return 0
        done = 0
        try:
            while len(data) - done >= ALIGNMENT:
                piece = data[done : done + _BUFFER_BYTES]
                piece = piece[: len(piece) // ALIGNMENT * ALIGNMENT]
                written = self._write_aligned(piece, offset + done) // ALIGNMENT * ALIGNMENT
                done += written
                if written < len(piece):
                    break
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            self.close()
        return done

    def close(self) -> None:
        """Give back the memory and the descriptor."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
        self._descriptor = self._buffer = None
        self._refused = True

    def _is_open(self) -> bool:
        if self._descriptor is None and not self._refused:
            # macOS has no such flag.
            flag = getattr(os, "O_DIRECT", None)
            try:
                if flag is not None:
                    self._buffer = mmap.mmap(-1, _BUFFER_BYTES)
                    self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC | flag)
            except OSError:
                # Also one of this process, such as too many open files: the other way is open already.
                self._buffer = None
            self._refused = self._descriptor is None
        return not self._refused

    def _write_aligned(self, piece: memoryview, offset: int) -> int:
        assert self._descriptor is not None
        assert self._buffer is not None
        # Memory of Python begins anywhere.
        self._buffer[: len(piece)] = piece
        with memoryview(self._buffer) as whole, whole[: len(piece)] as aligned:
            return os.pwrite(self._descriptor, aligned, offset)
