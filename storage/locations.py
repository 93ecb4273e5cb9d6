"""The locations of recently read blocks, so that a hot file asks the index once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from storage.index import Index, Location

# About 300 bytes each; every copy of a block counts.
MAX_LOCATIONS = 65_536


class Locations:
    """Asks the index for many blocks in one query and remembers the answers.

    Blocks that the index does not know are not remembered: another replica may add them at any
    moment. Nor are those that stand in the index itself: whoever caches blocks caches them.
    """

    def __init__(self, index: Index, limit: int = MAX_LOCATIONS) -> None:
        self._index = index
        self._limit = limit
        self._known: OrderedDict[bytes, Sequence[Location]] = OrderedDict()
        self._size = 0
        self._changes = 0

    async def find(self, multihashes: Sequence[bytes]) -> Mapping[bytes, Sequence[Location]]:
        """Every known copy of each block."""
        known = self._known
        found = {multihash: known[multihash] for multihash in multihashes if multihash in known}
        missing = [multihash for multihash in multihashes if multihash not in found]
        if missing:
            changes = self._changes
            fresh = await self._index.locate(missing)
            found.update(fresh)
            # What was asked before something was deleted may be what was deleted.
            if changes == self._changes:
                self._remember(fresh)
        return found

    def _remember(self, fresh: Mapping[bytes, Sequence[Location]]) -> None:
        for multihash, copies in fresh.items():
            if all(copy.inline is None for copy in copies):
                self._drop(multihash)
                self._known[multihash] = copies
                self._size += len(copies)
        while self._size > self._limit:
            self._drop(next(iter(self._known)))

    def _drop(self, multihash: bytes) -> None:
        self._size -= len(self._known.pop(multihash, ()))

    def forget(self, multihash: bytes | None = None) -> None:
        """Drop what is known of one block, or of all."""
        self._changes += 1
        if multihash is None:
            self._known.clear()
            self._size = 0
        else:
            self._drop(multihash)
