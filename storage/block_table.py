"""The blocks of a large CAR and the links between them, in as little memory as they need."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ipld.cid import Cid, trusted
from storage.index import BlockRow

_NOWHERE = (1 << 64) - 1
# The upper bits of a length; the lower ones hold up to 2 MiB.
_WRAPPED, _OPAQUE, _SECOND = 1 << 31, 1 << 30, 1 << 29
_LENGTH = _SECOND - 1
_FIRST_SLOTS = 1 << 10
# What the table can hold at most: a number of a link, or of its place, has 32 bits.
MOST_NUMBERS = 1 << 28


class TableFull(Exception):
    """More blocks, or more links between them, than the table may hold."""


@dataclass(frozen=True, slots=True)
class Missing:
    """The numbers that a walk ended at: `opaque` are blocks that are there, whose links nobody reads."""

    absent: Sequence[int] = ()
    opaque: Sequence[int] = ()


class BlockTable:
    """CIDs as small numbers: those of blocks, and those that blocks link to. About 70 bytes each.

    A dict of objects takes four times that, and a CAR of 5 GiB may have a million blocks. `limit`
    bounds the CIDs, and eight times that the links.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._keys = bytearray()
        self._ends = array("Q", [0])
        # A hash table with open addressing; a slot holds a number plus one. Python salts the hash.
        self._slots = array("I", [0]) * _FIRST_SLOTS
        self._offsets = array("Q")
        self._lengths = array("I")
        # Where the links of a block begin: their count, then their numbers; 0 is an empty list.
        self._starts = array("I")
        self._links = array("I", [0])
        self.rows = 0
        self._unread = 0
        self._repeats = False

    def __len__(self) -> int:
        return len(self._offsets)

    def number(self, cid: Cid) -> int:
        """The number of a CID, which it gets here if it has none."""
        key = cid.to_v1().raw
        at = self._slot(key)
        if self._slots[at]:
            return self._slots[at] - 1
        number = len(self._offsets)
        if number >= self._limit:
            raise TableFull
        self._keys += key
        self._ends.append(len(self._keys))
        self._offsets.append(_NOWHERE)
        self._lengths.append(0)
        self._starts.append(0)
        self._slots[at] = number + 1
        if 3 * number >= 2 * len(self._slots):
            self._grow()
        return number

    def find(self, cid: Cid) -> int | None:
        """The number of a CID that has one."""
        found = self._slots[self._slot(cid.to_v1().raw)]
        return found - 1 if found else None

    def cid(self, number: int) -> Cid:
        return trusted(self._key(number))

    def holds(self, number: int) -> bool:
        """Whether the block itself is there."""
        return self._offsets[number] != _NOWHERE

    def put(self, number: int, row: BlockRow, *, opaque: bool, second: bool) -> None:
        """The block is there. `second`: under another CID it is there already, and has its row."""
        self._offsets[number] = row.offset
        self._lengths[number] = row.length | row.wrapped * _WRAPPED | opaque * _OPAQUE | second * _SECOND
        self.rows += not second
        self._unread += opaque

    def link(self, number: int, targets: Iterable[Cid]) -> None:
        """What the block links to; said once of each block."""
        named = list(map(self.number, targets))
        numbers = list(dict.fromkeys(named))
        self._repeats = self._repeats or len(numbers) < len(named)
        if not numbers:
            return
        if len(self._links) + len(numbers) > 8 * self._limit + 1:
            raise TableFull
        self._starts[number] = len(self._links)
        self._links.append(len(numbers))
        self._links.extend(numbers)

    def reach(self, roots: Iterable[int]) -> Missing:
        """Walk all links from the roots, in the order of the DAG."""
        roots = array("I", roots)
        if self.rows == len(self) and not self._unread:
            return Missing()
        seen = bytearray(len(self))
        absent, opaque = array("I"), array("I")
        waiting = roots[::-1]
        while waiting:
            number = waiting.pop()
            if seen[number]:
                continue
            seen[number] = 1
            if not self.holds(number):
                absent.append(number)
            elif self._lengths[number] & _OPAQUE:
                opaque.append(number)
            elif start := self._starts[number]:
                waiting.extend(self._links[start + self._links[start] : start : -1])
        return Missing(absent, opaque)

    def depth_first(self, root: int) -> tuple[int, bool]:
        """How many blocks lie in the order in which a walk from the root comes to them, it first; and
        whether it comes to each only once. Zero where it meets one that is absent or lies elsewhere."""
        seen = bytearray(len(self))
        waiting = array("I", [root])
        count, last, is_tree = 0, -1, not self._repeats
        while waiting:
            number = waiting.pop()
            if seen[number]:
                is_tree = False
                continue
            seen[number] = 1
            offset = self._offsets[number]
            if offset == _NOWHERE or offset <= last:
                return 0, False
            count, last = count + 1, offset
            if start := self._starts[number]:
                waiting.extend(self._links[start + self._links[start] : start : -1])
        return count, is_tree

    def block_rows(self, base: int) -> Collection[BlockRow]:
        """A row for each block, once; `base` is added to the offsets."""
        return _Rows(self, base)

    def each_row(self, base: int) -> Iterator[BlockRow]:
        for number, (offset, length) in enumerate(zip(self._offsets, self._lengths, strict=True)):
            if offset != _NOWHERE and not length & _SECOND:
                wrapped = bool(length & _WRAPPED)
                yield BlockRow(self.cid(number).multihash, base + offset, length & _LENGTH, wrapped)

    def _key(self, number: int) -> bytes:
        return bytes(self._keys[self._ends[number] : self._ends[number + 1]])

    def _slot(self, key: bytes) -> int:
        """Where the key is, or the empty slot where it belongs."""
        slots = self._slots
        mask = len(slots) - 1
        at = hash(key) & mask
        while (found := slots[at]) and self._key(found - 1) != key:
            at = (at + 1) & mask
        return at

    def _grow(self) -> None:
        self._slots = array("I", [0]) * (2 * len(self._slots))
        for number in range(len(self)):
            self._slots[self._slot(self._key(number))] = number + 1


@dataclass(frozen=True, slots=True)
class _Rows:
    _table: BlockTable
    _base: int

    def __len__(self) -> int:
        return self._table.rows

    def __iter__(self) -> Iterator[BlockRow]:
        return self._table.each_row(self._base)

    def __contains__(self, row: object) -> bool:
        return any(row == own for own in self)
