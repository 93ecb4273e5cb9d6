"""The blocks of a CAR: each hashed, given a row for the index, and asked for its links."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ipld import car, varint
from ipld.blocks import Buffer
from ipld.car import Section
from ipld.car_reader import CarReader
from ipld.cid import DAG_PB, Cid, trusted
from ipld.errors import BlockCorrupt, InvalidCar, InvalidCid, MalformedBlock
from ipld.hashes import SHA2_256, verify
from ipld.links import LEAF_CODECS, block_links, stored
from ipld.unixfs.node import leaf_data, leaf_wrapping
from storage.block_table import BlockTable, Missing, TableFull
from storage.index import BlockRow, Layout

# A block may stand in a CAR under several codecs, and is looked for under each that was seen.
MAX_CODECS = 32


class CarBlocks:
    """Bound by the CPU. Raises InvalidCar, whose offset counts from the first byte that was added."""

    def __init__(self, max_blocks: int) -> None:
        self.reader = CarReader()
        self.last: Cid | None = None
        self._max_blocks = max_blocks
        self._table = BlockTable(max_blocks)
        self._codecs: set[int] = set()
        self._sections = 0
        self._versions: set[int] = set()

    def add(self, batch: Buffer) -> None:
        """Take the next bytes of the CAR."""
        for section in self.reader.feed(batch):
            try:
                verify(section.cid, section.data)
                self._sections += 1
                self.last = section.cid
                if not section.cid.is_identity:
                    self._take(section)
            except (BlockCorrupt, InvalidCid) as error:
                raise InvalidCar(str(error), section.offset) from error
            except MalformedBlock as error:
                raise InvalidCar(
                    f"the block {section.cid} cannot be read: {error}", section.offset
                ) from error
            except TableFull as error:
                raise InvalidCar(f"more than {self._max_blocks} blocks", section.offset) from error

    def _take(self, section: Section) -> None:
        cid, table = section.cid, self._table
        number = table.number(cid)
        if table.holds(number):
            return
        links = block_links(cid, section.data)
        row = _row(section, self.reader.body_start, may_be_wrapped=cid.codec == DAG_PB and not links)
        second = self.holds_otherwise(cid)
        self._codecs.add(cid.codec)
        if len(self._codecs) > MAX_CODECS:
            raise InvalidCar(f"blocks of more than {MAX_CODECS} codecs", section.offset)
        table.put(number, row, opaque=links is None, second=second)
        self._note_versions((cid, *(links or ())))
        if links:
            table.link(number, stored(links))

    def _note_versions(self, cids: Iterable[Cid]) -> None:
        """Of those that have two: the table takes both for one."""
        self._versions.update(
            cid.version for cid in cids if cid.codec == DAG_PB and cid.hash_code == SHA2_256
        )

    def holds_otherwise(self, cid: Cid) -> bool:
        """Whether the same bytes are there under another codec."""
        for codec in self._codecs:
            if codec != cid.codec:
                number = self._table.find(_under(cid, codec))
                if number is not None and self._table.holds(number):
                    return True
        return False

    def holds(self, cid: Cid) -> bool:
        number = self._table.find(cid)
        return number is not None and self._table.holds(number)

    def first_lost(self, roots: Sequence[Cid]) -> Cid | None:
        """The first root whose block is not in the CAR."""
        return next((root for root in roots if not root.is_identity and not self.holds(root)), None)

    def layout(self, roots: Sequence[Cid], head: bytes) -> Layout:
        """How the sections lie under the header that names the roots: byte for byte as a walk over the
        DAG would give them, or not. For that a block must have one CID, in sections and in links."""
        self._note_versions(roots)
        if len(roots) != 1 or len(head) != len(car.header(roots)) or len(self._versions) > 1:
            return Layout.CAR
        if not self.holds(roots[0]):
            return Layout.CAR
        count, is_tree = self._table.depth_first(self._table.number(roots[0]))
        if count != self._sections:
            return Layout.CAR
        return Layout.TREE if is_tree else Layout.DAG

    def rows(self, base: int) -> Collection[BlockRow]:
        """A row for each block, once; the first section begins at `base` of the object."""
        return self._table.block_rows(base)

    def gaps(self, roots: Sequence[Cid]) -> Gaps:
        """What the DAGs under the roots lack."""
        numbers = [self._table.number(cid) for cid in stored(roots)]
        return Gaps(self, self._table, self._table.reach(numbers))


@dataclass(frozen=True, slots=True)
class Gaps:
    """Kept as numbers: a partial CAR may lack as many blocks as it has."""

    _blocks: CarBlocks
    _table: BlockTable
    _missing: Missing

    def absent(self) -> Iterator[Cid]:
        """Blocks that are not in the CAR, in the order of the DAG."""
        for cid in map(self._table.cid, self._missing.absent):
            if not self._blocks.holds_otherwise(cid):
                yield cid

    def opaque(self) -> Iterator[Cid]:
        """Blocks that are in the CAR, and whose links nobody here reads."""
        yield from map(self._table.cid, self._missing.opaque)
        for cid in map(self._table.cid, self._missing.absent):
            # Linked to under a codec under which it was not in the CAR, so that nobody read it.
            if cid.codec not in LEAF_CODECS and self._blocks.holds_otherwise(cid):
                yield cid


def _under(cid: Cid, codec: int) -> Cid:
    """The CID of the same bytes under another codec."""
    return trusted(b"\x01" + varint.encode(codec) + cid.multihash)


def _row(section: Section, start: int, *, may_be_wrapped: bool) -> BlockRow:
    """Of the file data alone where the block is a leaf of a file, as our own uploads make it."""
    multihash, data, offset = section.cid.multihash, section.data, section.offset - start
    if may_be_wrapped:
        with suppress(MalformedBlock):
            length = len(leaf_data(section.cid, data))
            before, after = leaf_wrapping(length)
            if data.startswith(before) and data.endswith(after) and len(data) == len(before + after) + length:
                return BlockRow(multihash, offset + len(before), length, wrapped=True)
    return BlockRow(multihash, offset, len(data))
