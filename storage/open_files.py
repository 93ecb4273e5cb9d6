"""Descriptors of recently read files, so that a hot one is not opened again."""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class OpenFile:
    """A descriptor, and how many readers use it now."""

    descriptor: int
    users: int = 0
    evicted: bool = False

    def release(self) -> None:
        self.users -= 1
        if self.evicted and not self.users:
            os.close(self.descriptor)

    def evict(self) -> None:
        self.evicted = True
        if not self.users:
            os.close(self.descriptor)


class OpenFiles:
    """At most `limit` are kept; one that is in use when its turn comes is closed by its last user."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._files: OrderedDict[str, OpenFile] = OrderedDict()

    def acquire(self, key: str, path: Path) -> OpenFile:
        file = self._files.get(key)
        if file is not None and not os.fstat(file.descriptor).st_nlink:
            # Another process deleted or replaced it; a descriptor that is kept would keep its bytes.
            self.drop(key)
            file = None
        if file is None:
            file = OpenFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            self._files[key] = file
        file.users += 1
        self._files.move_to_end(key)
        if len(self._files) > self._limit:
            self._files.popitem(last=False)[1].evict()
        return file

    def drop(self, key: str) -> None:
        file = self._files.pop(key, None)
        if file is not None:
            file.evict()

    def close(self) -> None:
        while self._files:
            self._files.popitem()[1].evict()
