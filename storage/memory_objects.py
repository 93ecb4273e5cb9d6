"""An object store in a dict: the twin that unit tests use."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from ipld.blocks import Buffer
from ipld.cid import Cid
from storage.objects import ObjectInfo, ObjectNotFound, Receipt


class _MemoryWriter:
    def __init__(self, objects: dict[str, tuple[bytes, float]], key: str, head_size: int) -> None:
        self._objects = objects
        self._key = key
        self._head_size = head_size
        self._data = bytearray(head_size)

    async def write(self, data: Buffer) -> None:
        self._data += data

    async def commit(self, head: bytes, root: Cid | None = None) -> Receipt:
        if len(head) != self._head_size:
            raise ValueError(f"the head has {len(head)} bytes, {self._head_size} were announced")
        self._data[: len(head)] = head
        self._objects[self._key] = (bytes(self._data), time.time())
        return Receipt()

    async def abort(self) -> None:
        self._data.clear()


class _MemoryReader:
    """`version` is None, as of a remote store: every read is checked again."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)
        self.version: object | None = None
        self.descriptor: int | None = None

    async def read(self, start: int, stop: int) -> AsyncGenerator[Buffer, None]:
        if stop > self.size:
            raise ObjectNotFound(f"the object ends at byte {self.size}, {stop} were expected")
        # Odd pieces, so that nobody comes to rely on where a store cuts its stream.
        for position in range(start, stop, 65_521):
            yield memoryview(self._data)[position : min(position + 65_521, stop)]


class MemoryObjects:
    """`data` may be read and damaged by tests: key -> (bytes, time of storing)."""

    run_bytes = 4 * 1024 * 1024

    def __init__(self) -> None:
        self.data: dict[str, tuple[bytes, float]] = {}

    @asynccontextmanager
    async def create(self, key: str, head_size: int = 0) -> AsyncGenerator[_MemoryWriter, None]:
        writer = _MemoryWriter(self.data, key, head_size)
        try:
            yield writer
        finally:
            await writer.abort()

    @asynccontextmanager
    async def open(
        self, key: str, first: tuple[int, int] | None = None
    ) -> AsyncGenerator[_MemoryReader, None]:
        if key not in self.data:
            raise ObjectNotFound(key)
        yield _MemoryReader(self.data[key][0])

    async def head(self, key: str) -> ObjectInfo:
        if key not in self.data:
            raise ObjectNotFound(key)
        data, stored = self.data[key]
        return ObjectInfo(key, len(data), stored)

    async def delete(self, key: str) -> None:
        self.data.pop(key, None)

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectInfo]:
        for key in sorted(self.data):
            if key.startswith(prefix) and key > after:
                yield ObjectInfo(key, len(self.data[key][0]), self.data[key][1])

    async def remove_unfinished(self, older_than: float) -> int:
        return 0
