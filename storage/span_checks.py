"""Hashing spans of files once: in threads, shared by all who wait, a few ahead of their turn."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from hashlib import sha256

from ipld.blocks import Buffer
from ipld.cid import Cid
from ipld.errors import BlockCorrupt
from ipld.hashes import SHA2_256, verify
from storage.index import Location
from storage.objects import ObjectReader
from storage.reading import wrapping
from storage.spans import Placed
from storage.verified import VerifiedSpans

# Hashing less than this takes less time than a visit to another thread.
HASH_IN_THREAD_BYTES = 32 * 1024
# Spans that are hashed before they are asked for: at most 6 MiB, which nobody holds in memory.
AHEAD = 3
# What a thread reads at once: it stays in the cache of the processor until it is hashed.
WINDOW_BYTES = 256 * 1024

# Key, offset and version of a span that is being hashed.
_Check = tuple[str, int, object]

_windows = threading.local()


class DamagedSpan(Exception):
    """A span is not what the index says."""


async def is_sound(cid: Cid, data: Buffer) -> bool:
    """Whether the bytes hash to the CID; large ones are hashed off the event loop."""
    if len(data) < HASH_IN_THREAD_BYTES:
        return hashes_to(cid, data)
    return await asyncio.to_thread(hashes_to, cid, data)


def hashes_to(cid: Cid, data: Buffer) -> bool:
    try:
        verify(cid, data)
    except BlockCorrupt:
        return False
    return True


class SpanChecks:
    """What was hashed is remembered in `verified`. For objects that are files and have a version."""

    def __init__(self, verified: VerifiedSpans) -> None:
        self._verified = verified
        self._under_way: dict[_Check, asyncio.Future[bool]] = {}

    def covers(self, copy: Location, version: object) -> bool:
        """Whether the span was hashed while its object had this version."""
        return self._verified.covers(copy.key, version, copy.offset, copy.stop)

    def add(self, copy: Location, version: object) -> None:
        """The span was hashed elsewhere."""
        self._verified.add(copy.key, version, copy.offset, copy.stop)

    async def in_order(self, placed: Sequence[Placed], source: ObjectReader) -> AsyncGenerator[Placed, None]:
        """Each span once it was hashed; DamagedSpan at the first that is not sound."""
        for position, each in enumerate(placed):
            await self.check(placed[position : position + 1 + AHEAD], source)
            yield each

    async def check(self, placed: Sequence[Placed], source: ObjectReader) -> None:
        """Hash the first span, and begin with the others; DamagedSpan where it is not sound."""
        first, *_ = [self._begin(each, source) for each in placed]
        # Others may wait for the same, so that it goes on when this reader leaves.
        if first is not None and not await asyncio.shield(first):
            raise DamagedSpan

    def _begin(self, placed: Placed, source: ObjectReader) -> asyncio.Future[bool] | None:
        copy, version = placed.location, source.version
        if self.covers(copy, version):
            return None
        name = (copy.key, copy.offset, version)
        check = self._under_way.get(name)
        if check is None:
            assert source.descriptor is not None
            # The thread may outlive the reader, so it has a descriptor of its own.
            own = os.dup(source.descriptor)
            check = asyncio.get_running_loop().run_in_executor(None, hash_span, own, placed.leaf.cid, copy)
            self._under_way[name] = check
            check.add_done_callback(lambda done: self._ended(name, copy, done))
        return check

    def _ended(self, name: _Check, copy: Location, check: asyncio.Future[bool]) -> None:
        del self._under_way[name]
        # An exception was seen by whoever waited; a reader that left waits no more.
        if not check.cancelled() and check.exception() is None and check.result():
            self._verified.add(copy.key, name[2], copy.offset, copy.stop)


def hash_span(descriptor: int, cid: Cid, copy: Location) -> bool:
    """Whether the span of the file, in its wrapping, hashes to the CID; closes the descriptor."""
    before, after = wrapping(copy)
    try:
        if cid.hash_code != SHA2_256:
            return hashes_to(
                cid, before + b"".join(map(bytes, windows(descriptor, copy.offset, copy.stop))) + after
            )
        hashed = sha256(before)
        for window in windows(descriptor, copy.offset, copy.stop):
            hashed.update(window)
        hashed.update(after)
        return hashed.digest() == cid.digest
    except (OSError, EOFError):
        return False
    finally:
        os.close(descriptor)


def windows(descriptor: int, start: int, stop: int) -> Iterator[memoryview]:
    """The bytes of a file, each piece good until the next; EOFError where it is shorter. May wait."""
    while start < stop:
        window = window_at(descriptor, start, stop)
        yield window
        start += len(window)


def window_at(descriptor: int, start: int, stop: int) -> memoryview:
    """The first bytes from `start` on, in a buffer of this thread that the next call fills anew.

    Memory that was never touched costs more than the copy into it.
    """
    if not hasattr(_windows, "own"):
        _windows.own = memoryview(bytearray(WINDOW_BYTES))
    own: memoryview = _windows.own
    count = os.preadv(descriptor, [own[: stop - start]], start)
    if not count:
        raise EOFError(f"the file ends at byte {start}")
    return own[:count]
