"""What tests of the storage share: whole stores, sources of bytes, and ways to break things."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

from ipld.blocks import Buffer
from ipld.cid import Cid
from ipld.unixfs.reader import open_file
from storage.content import Content, Owned
from storage.index import Index, Location
from storage.local import LocalObjects
from storage.memory_index import MemoryIndex
from storage.memory_objects import MemoryObjects
from storage.objects import ObjectInfo, ObjectReader, ObjectStore
from storage.packed import PackedBlocks

MIB = 1024 * 1024


async def pieces(*parts: Buffer, then: BaseException | None = None) -> AsyncIterator[Buffer]:
    """A body in parts; at its end it may raise."""
    for part in parts:
        yield part
    if then is not None:
        raise then


def cut(data: bytes, size: int = 300_007) -> AsyncIterator[Buffer]:
    """A body in parts of an odd size."""
    return pieces(*(data[at : at + size] for at in range(0, len(data), size)))


async def join(source: AsyncGenerator[Buffer, None]) -> bytes:
    async with aclosing(source):
        return b"".join([bytes(piece) async for piece in source])


@dataclass
class CountingObjects:
    """An object store that notes each read, and passes everything on."""

    inner: ObjectStore
    reads: list[tuple[str, int, int]] = field(default_factory=list)

    @property
    def run_bytes(self) -> int:
        return self.inner.run_bytes

    def create(self, key: str, head_size: int = 0) -> object:
        return self.inner.create(key, head_size)

    @asynccontextmanager
    async def open(self, key: str, first: tuple[int, int] | None = None) -> AsyncIterator[ObjectReader]:
        async with self.inner.open(key, first) as source:
            yield _CountingReader(source, key, self.reads)

    async def head(self, key: str) -> ObjectInfo:
        return await self.inner.head(key)

    async def delete(self, key: str) -> None:
        await self.inner.delete(key)

    def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectInfo]:
        return self.inner.list(prefix, after)

    async def remove_unfinished(self, older_than: float) -> int:
        return await self.inner.remove_unfinished(older_than)


class _CountingReader:
    def __init__(self, inner: ObjectReader, key: str, reads: list[tuple[str, int, int]]) -> None:
        self.size, self.version, self.descriptor = inner.size, inner.version, inner.descriptor
        self._inner, self._key, self._reads = inner, key, reads

    def read(self, start: int, stop: int) -> AsyncGenerator[Buffer, None]:
        self._reads.append((self._key, start, stop))
        return self._inner.read(start, stop)


class CountingIndex(MemoryIndex):
    """Notes how many blocks each query asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.queries: list[int] = []

    async def locate(self, multihashes: Sequence[bytes]) -> dict[bytes, Sequence[Location]]:
        self.queries.append(len(multihashes))
        return dict(await super().locate(multihashes))


@dataclass
class Stores:
    """Content over one object store and one index, with what is counted."""

    objects: ObjectStore
    index: Index
    counted: CountingObjects = field(init=False)
    blocks: PackedBlocks = field(init=False)
    content: Content = field(init=False)
    damage: int = 0
    owner: UUID = field(default_factory=uuid4)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """What a new process would know: nothing."""
        self.counted = CountingObjects(self.objects)
        self.blocks = PackedBlocks(self.counted, self.index, on_damage=self._damaged)  # type: ignore[arg-type]
        self.content = Content(self.objects, self.index, self.blocks)

    def _damaged(self) -> None:
        self.damage += 1

    def owned(self, name: str = "name", owner: UUID | None = None, **more: object) -> Owned:
        return Owned(owner or self.owner, name, **more)  # type: ignore[arg-type]

    async def read(self, cid: Cid, start: int = 0, stop: int | None = None) -> bytes:
        return await join((await open_file(self.blocks, cid)).read(start, stop))

    async def keys(self) -> list[str]:
        return [info.key async for info in self.objects.list()]

    async def nothing_left(self) -> bool:
        return not await self.keys() and not await self.index.unsettled(0)

    async def nothing_but_notes_left(self) -> bool:
        """As after a commit that was cancelled: what may come of it yet is noted for the sweep."""
        return not await self.keys() and await self.content.sweep(0) <= 1 and await self.nothing_left()

    async def change(self, key: str, change: Callable[[bytes], bytes]) -> None:
        """Damage an object behind the program's back."""
        if isinstance(self.objects, MemoryObjects):
            data, stored = self.objects.data[key]
            self.objects.data[key] = (change(data), stored)
        else:
            assert isinstance(self.objects, LocalObjects)
            path: Path = self.objects._root / key
            before = path.stat().st_mtime_ns
            path.write_bytes(change(path.read_bytes()))
            # A clock that stands still for a moment must not make the test pass by luck.
            os.utime(path, ns=(before + 10_000_000, before + 10_000_000))

    async def remove(self, key: str) -> None:
        if isinstance(self.objects, MemoryObjects):
            del self.objects.data[key]
        else:
            assert isinstance(self.objects, LocalObjects)
            (self.objects._root / key).unlink()


def flip(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


async def settled_tasks() -> set[asyncio.Task[object]]:
    """The tasks that are still there after those under way had time to end."""
    for _ in range(200):
        others = asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]
        if not others:
            break
        await asyncio.sleep(0.01)
    return others


async def store(objects: ObjectStore, key: str, *parts: bytes, head: bytes = b"") -> None:
    async with objects.create(key, len(head)) as writer:
        for part in parts:
            await writer.write(part)
        await writer.commit(head)
