"""DAGs that lie in an object just as a CAR carries them: read as one span, its sections hashed once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

from ipld import car
from ipld.blocks import Piece, WholeDag
from ipld.cid import Cid
from ipld.errors import StoreUnavailable
from storage.car_checks import sound_until
from storage.index import Index, Layout, StoredObject
from storage.objects import ObjectNotFound, ObjectReader, ObjectStore
from storage.reading import file_span
from storage.span_checks import DamagedSpan
from storage.verified import VerifiedSpans

# What is hashed at once before any of it goes out, and what goes out at once: in between it is looked
# whether the object is still the same.
CHECKED_BYTES = 4 * 1024 * 1024
SENT_BYTES = 64 * 1024 * 1024

# Key, position and version of sections that are being hashed.
_Check = tuple[str, int, object]


@dataclass(frozen=True, slots=True)
class _Body:
    """The sections of an object, and where the first one begins."""

    stored: StoredObject
    start: int


class WholeDags:
    """`on_damage` is told of an object whose bytes were missing or wrong."""

    def __init__(
        self,
        objects: ObjectStore,
        index: Index,
        verified: VerifiedSpans,
        on_damage: Callable[[StoredObject], Awaitable[None]],
    ) -> None:
        self._objects = objects
        self._index = index
        self._verified = verified
        self._on_damage = on_damage
        self._under_way: dict[_Check, asyncio.Future[int]] = {}
        # Whether objects are files that show when they change, as far as is known.
        self._are_files = True

    async def find(self, root: Cid, *, duplicates: bool) -> WholeDag | None:
        """As SectionReader.whole_dag; one query."""
        if root.is_identity:
            return None
        try:
            stored = await self._index.find(root)
        except StoreUnavailable:
            # The blocks may be in a cache.
            return None
        if stored is None or stored.root != root or stored.damaged or stored.partial:
            return None
        if stored.layout is not Layout.TREE and (duplicates or stored.layout is not Layout.DAG):
            return None
        body = _Body(stored, len(car.header([root])))
        return WholeDag(stored.size - body.start, lambda: self._read(body))

    async def _read(self, body: _Body) -> AsyncGenerator[Piece, None]:
        position = body.start
        try:
            while position < body.stored.size and self._are_files:
                # Opened each time: whether it is still the same file shows then.
                async with self._objects.open(body.stored.key) as source:
                    stop = await self._checked(body, position, source)
                    span = file_span(source, position, stop)
                    if stop == position or span is None:
                        return
                    yield span
                    position = stop
        except (ObjectNotFound, DamagedSpan):
            await self._on_damage(body.stored)

    async def _checked(self, body: _Body, position: int, source: ObjectReader) -> int:
        """Up to where bytes can go out; `position` where the store cannot tell when they change."""
        stored, version = body.stored, source.version
        if version is None or source.descriptor is None:
            self._are_files = False
            return position
        if source.size != stored.size:
            raise DamagedSpan
        stop = self._verified.reach(stored.key, version, body.start)
        while stop <= position:
            # Others may wait for the same, so that it goes on when this reader leaves.
            stop = await asyncio.shield(self._begin(body, stop, source))
        if stop < stored.size:
            self._begin(body, stop, source)
        return min(stop, position + SENT_BYTES)

    def _begin(self, body: _Body, start: int, source: ObjectReader) -> asyncio.Future[int]:
        """Hash the sections from there on; `start` is where one begins."""
        name = (body.stored.key, start, source.version)
        check = self._under_way.get(name)
        if check is None:
            assert source.descriptor is not None
            # The thread may outlive the reader, so it has a descriptor of its own.
            own = os.dup(source.descriptor)
            first = body.stored.root if start == body.start else None
            check = asyncio.get_running_loop().run_in_executor(
                None, sound_until, own, (start, start + CHECKED_BYTES, body.stored.size), first
            )
            self._under_way[name] = check
            check.add_done_callback(lambda done: self._ended(name, done))
        return check

    def _ended(self, name: _Check, check: asyncio.Future[int]) -> None:
        key, start, version = name
        del self._under_way[name]
        # The exception was seen by whoever waited; a reader that left waits no more.
        if not check.cancelled() and check.exception() is None:
            self._verified.add(key, version, start, check.result())
