"""Asking the kernel to write dirty pages out while an upload still runs."""

from __future__ import annotations

import ctypes
import sys

# <linux/fs.h>: begin to write, do not wait.
_SYNC_FILE_RANGE_WRITE = 2


def _find() -> ctypes._NamedFuncPointer | None:
    if not sys.platform.startswith("linux"):
        return None
    function = getattr(ctypes.CDLL(None, use_errno=True), "sync_file_range", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function


_sync_file_range = _find()


def begin_writeback(descriptor: int, offset: int, length: int) -> None:
    """The last fsync then finds little left to do: a gigabyte that is only written at the end would
    double the time of its upload. Only a hint: whether the bytes are durable is for fsync to say."""
    if _sync_file_range is not None:
        _sync_file_range(descriptor, offset, length, _SYNC_FILE_RANGE_WRITE)
