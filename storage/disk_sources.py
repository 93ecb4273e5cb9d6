"""Files and directories of this machine as sources of an upload."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from storage.tree import TreeEntry

_READ_BYTES = 1024 * 1024

# Told how many more bytes were read.
Progress = Callable[[int], None]


async def read_file(path: Path, progress: Progress = lambda _: None) -> AsyncIterator[bytes]:
    """The bytes of a file; OSError where it cannot be read."""
    with await asyncio.to_thread(path.open, "rb") as file:
        while piece := await asyncio.to_thread(file.read, _READ_BYTES):
            yield piece
            progress(len(piece))


async def tree_entries(top: Path, progress: Progress = lambda _: None) -> AsyncIterator[TreeEntry]:
    """All files, symlinks and empty folders below a directory; symlinks are not followed."""
    for directory, folders, files in os.walk(top):
        here = Path(directory)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = sorted(set(folders) - set(links))
        if not folders and not files and not links and here != top:
            yield TreeEntry(here.relative_to(top).as_posix())
        for name in sorted([*files, *links]):
            path = here / name
            inside = path.relative_to(top).as_posix()
            if path.is_symlink():
                yield TreeEntry(inside, target=str(path.readlink()))
            elif path.is_file():
                yield TreeEntry(inside, source=read_file(path, progress))
