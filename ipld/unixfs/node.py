"""UnixFS nodes: the Data message inside a dag-pb block, decoded and encoded."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from ipld import dag_pb, varint
from ipld.cid import DAG_PB, RAW, Cid
from ipld.dag_pb import PBLink
from ipld.errors import MalformedBlock, NotALeaf, NotUnixFs

HASH_MURMUR3 = 0x22


class Link(NamedTuple):
    """A directory entry. `tsize` counts all blocks below, as `Tsize` does."""

    name: str
    cid: Cid
    tsize: int


class Kind(IntEnum):
    """The `Type` field. RAW also stands for blocks of the raw codec."""

    RAW = 0
    DIRECTORY = 1
    FILE = 2
    METADATA = 3
    SYMLINK = 4
    SHARD = 5


READABLE = frozenset((Kind.RAW, Kind.FILE, Kind.SYMLINK))
LISTABLE = frozenset((Kind.DIRECTORY, Kind.SHARD))


@dataclass(frozen=True, slots=True)
class Mtime:
    seconds: int
    nanoseconds: int = 0


@dataclass(frozen=True, slots=True)
class Metadata:
    """What UnixFS 1.5 adds to a node: permission bits (12 of them) and a time; None for what is not said."""

    mode: int | None = None
    mtime: Mtime | None = None

    def encode(self, kind: Kind) -> bytes:
        """The fields, which stand at the end of a Data message.

        As Kubo writes them: symlinks have no mode, and a mode of 0 is said of directories only.
        """
        out = b""
        is_directory = kind in LISTABLE
        if self.mode is not None and kind != Kind.SYMLINK and (self.mode or is_directory):
            out += b"\x38" + varint.encode(self.mode)
        if self.mtime is not None:
            time = b"\x08" + varint.encode(self.mtime.seconds & 0xFFFF_FFFF_FFFF_FFFF)
            if self.mtime.nanoseconds:
                time += b"\x15" + self.mtime.nanoseconds.to_bytes(4, "little")
            out += b"\x42" + varint.encode(len(time)) + time
        return out


NO_METADATA = Metadata()


@dataclass(frozen=True, slots=True)
class Node:
    """A UnixFS node. `data` is a view into the block. `filesize` is as stated; see `size`."""

    cid: Cid
    kind: Kind
    data: memoryview
    links: tuple[PBLink, ...] = ()
    filesize: int | None = None
    blocksizes: tuple[int, ...] = ()
    hash_type: int | None = None
    fanout: int | None = None
    mode: int | None = None
    mtime: Mtime | None = None

    @property
    def size(self) -> int:
        """Bytes of file content; MalformedBlock where the sizes in the node contradict each other."""
        if len(self.blocksizes) != len(self.links):
            raise MalformedBlock(f"{self.cid} has {len(self.links)} links, {len(self.blocksizes)} blocksizes")
        size = len(self.data) + sum(self.blocksizes)
        if self.kind == Kind.FILE and self.filesize not in (None, size):
            raise MalformedBlock(f"{self.cid} claims {self.filesize} bytes, its parts have {size}")
        return size


def decode_node(cid: Cid, block: bytes) -> Node:
    """The UnixFS node in a block; NotUnixFs where it holds something else, else MalformedBlock."""
    codec = cid.codec
    if codec == RAW:
        return Node(cid, Kind.RAW, memoryview(block))
    if codec != DAG_PB:
        raise NotUnixFs(f"{cid} is not UnixFS: codec 0x{codec:x}")
    parsed = dag_pb.decode(block)
    if parsed.data is None:
        raise NotUnixFs(f"{cid} is not UnixFS: dag-pb without data")
    try:
        return _Fields(parsed.data).node(cid, parsed.links)
    except ValueError as error:
        raise NotUnixFs(f"{cid} is not UnixFS: {error}") from error


def leaf_data(cid: Cid, block: bytes) -> memoryview:
    """The file data in a leaf block; NotALeaf where the block has children."""
    if cid.codec == RAW:
        return memoryview(block)
    try:
        node = decode_node(cid, block)
    except NotUnixFs as error:
        raise MalformedBlock(str(error)) from error
    if node.links:
        raise NotALeaf(f"{cid} is not a leaf")
    if node.kind not in READABLE or len(node.data) != node.size:
        raise MalformedBlock(f"{cid} is not part of a file")
    return node.data


_BLOCKSIZE = re.compile(rb"\x20([\x80-\xff]{0,9}[\x00-\x7f])")
_BLOCKSIZES = re.compile(rb"(?:\x20[\x80-\xff]{0,9}[\x00-\x7f])+")


class _Fields:
    """Reads the Data message; fields that we do not know are skipped, as protobuf parsers do."""

    def __init__(self, message: memoryview) -> None:
        self._message = message
        self._bytes = memoryview(b"")
        self._values: dict[int, int] = {}
        self._blocksizes: list[int] = []
        self._mtime: Mtime | None = None
        self._read()

    def node(self, cid: Cid, links: tuple[PBLink, ...]) -> Node:
        values = self._values
        if 1 not in values:
            raise ValueError("no type")
        mode = values.get(7)
        return Node(
            cid,
            Kind(values[1]),
            self._bytes,
            links,
            values.get(3),
            tuple(self._blocksizes),
            values.get(5),
            values.get(6),
            None if mode is None else mode & 0xFFFF_FFFF,
            self._mtime,
        )

    def _read(self) -> None:
        message, at, stop = self._message, 0, len(self._message)
        while at < stop:
            if message[at] == 0x20:
                at = self._read_blocksizes(at)
                continue
            key, at = varint.read_protobuf(message, at, stop)
            wire, number = key & 7, key >> 3
            if wire == 0:
                self._values[number], at = varint.read_protobuf(message, at, stop)
            elif wire == 2:
                at = self._read_bytes(number, at, stop)
            elif wire in (1, 5):
                at += 8 if wire == 1 else 4
            else:
                raise ValueError(f"wire type {wire}")
        if at != stop:
            raise ValueError("cut off")

    def _read_blocksizes(self, at: int) -> int:
        """All that follow each other, which in a file node is the message but for a few bytes."""
        run = _BLOCKSIZES.match(self._message, at)
        if run is None:
            raise ValueError("blocksize is cut off")
        for encoded in _BLOCKSIZE.findall(run.group()):
            size = varint.whole_protobuf(encoded)
            if size is None:
                raise ValueError("blocksize does not fit 64 bits")
            self._blocksizes.append(size)
        return run.end()

    def _read_bytes(self, number: int, at: int, stop: int) -> int:
        size, start = varint.read_protobuf(self._message, at, stop)
        if size > stop - start:
            raise ValueError("cut off")
        value = self._message[start : start + size]
        if number == 2:
            self._bytes = value
        elif number == 4:
            self._read_packed(value)
        elif number == 8:
            self._mtime = _mtime(value)
        return start + size

    def _read_packed(self, value: memoryview) -> None:
        at = 0
        while at < len(value):
            blocksize, at = varint.read_protobuf(value, at, len(value))
            self._blocksizes.append(blocksize)


def _mtime(message: memoryview) -> Mtime:
    seconds = nanoseconds = at = 0
    while at < len(message):
        key, at = varint.read_protobuf(message, at, len(message))
        if key == 0x08:
            seconds, at = varint.read_protobuf(message, at, len(message))
        elif key == 0x15 and at + 4 <= len(message):
            nanoseconds, at = int.from_bytes(message[at : at + 4], "little"), at + 4
        else:
            raise ValueError("unknown field in mtime")
    if nanoseconds > 999_999_999:
        raise ValueError("mtime has more than a second of nanoseconds")
    return Mtime(seconds - (1 << 64) if seconds >> 63 else seconds, nanoseconds)


def encode_data(kind: Kind, data: bytes = b"", **numbers: int) -> bytes:
    """A Data message without blocksizes; `numbers` are hash_type and fanout."""
    out = b"\x08" + varint.encode(kind)
    if data:
        out += b"\x12" + varint.encode(len(data)) + data
    for key, name in ((b"\x28", "hash_type"), (b"\x30", "fanout")):
        if name in numbers:
            out += key + varint.encode(numbers[name])
    return out


def encode_inner(blocksizes: Iterable[int]) -> bytes:
    """The Data message of a file node that has children and no data of its own."""
    sizes = list(blocksizes)
    parts = [b"\x08\x02\x18", varint.encode(sum(sizes))]
    for size in sizes:
        parts += (b"\x20", varint.encode(size))
    return b"".join(parts)


def encode_lone_leaf(data: bytes, metadata: Metadata) -> bytes:
    """The Data message of a file that is one block, which is the root and says more than a leaf does."""
    return encode_data(Kind.FILE, data) + b"\x18" + varint.encode(len(data)) + metadata.encode(Kind.FILE)


def leaf_wrapping(length: int) -> tuple[bytes, bytes]:
    """What stands before and after `length` bytes of file data in a dag-pb leaf."""
    size = varint.encode(length)
    before = b"\x08\x02" + (b"\x12" + size if length else b"")
    after = b"\x18" + size
    return b"\x0a" + varint.encode(len(before) + length + len(after)) + before, after
