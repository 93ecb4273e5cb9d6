"""CARv1 framing: headers, section prefixes and an incremental parser."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ipld import varint
from ipld.blocks import MAX_BLOCK_BYTES
from ipld.cid import MAX_BYTES as MAX_CID_BYTES
from ipld.cid import Cid
from ipld.errors import InvalidCar, InvalidCid

Buffer = bytes | bytearray | memoryview

# Lengths are checked before anything of that size is kept (GHSA-9x4h-8wgm-8xfg): a header has
# room for thousands of roots, a section for one block of the largest size that we take.
MAX_HEADER_BYTES = 1024 * 1024
MAX_SECTION_BYTES = MAX_BLOCK_BYTES + MAX_CID_BYTES

# dag-cbor pieces of the only header there is: {"roots": [&Any], "version": 1}.
_MAP_OF_TWO = 0xA2
_ROOTS = b"\x65roots"
_VERSION = b"\x67version"
_CID_TAG = b"\xd8\x2a"
_BYTES, _ARRAY = 2, 4
_ARGUMENT_BYTES = {24: 1, 25: 2, 26: 4, 27: 8}
# Every later version begins with a header that has no roots.
_PRAGMA = b"\xa1\x67version"


@dataclass(frozen=True, slots=True)
class Section:
    """One block of a CAR; nobody has hashed `data` yet. `offset` is where the data begins."""

    cid: Cid
    data: bytes
    offset: int


def header(roots: Sequence[Cid]) -> bytes:
    """The bytes before the first section; their number depends on the sizes of the roots only."""
    links = b"".join(_CID_TAG + _cbor_head(_BYTES, len(root.raw) + 1) + b"\0" + root.raw for root in roots)
    body = b"".join([bytes([_MAP_OF_TWO]), _ROOTS, _cbor_head(_ARRAY, len(roots)), links, _VERSION, b"\x01"])
    return varint.encode(len(body)) + body


def frame(cid: Cid, size: int) -> bytes:
    """What stands before the `size` bytes of a block."""
    return varint.encode(len(cid.raw) + size) + cid.raw


def _header(buffer: Buffer, base: int) -> tuple[tuple[Cid, ...], int] | None:
    span = _span(buffer, 0, base, MAX_HEADER_BYTES)
    if span is None:
        return None
    start, end = span
    return _Header(bytes(buffer[start:end]), base + start).roots(), end


def _span(buffer: Buffer, at: int, base: int, limit: int) -> tuple[int, int] | None:
    """Where the length-prefixed bytes at `at` lie; None until all of them are in the buffer."""
    try:
        size, start = varint.read(buffer, at, len(buffer))
    except varint.CutVarint:
        return None
    except varint.InvalidVarint as error:
        raise InvalidCar(str(error), base + at) from error
    if not 0 < size <= limit:
        raise InvalidCar(f"length {size} is not between 1 and {limit}", base + at)
    return (start, start + size) if start + size <= len(buffer) else None


class CarParser:
    """Turns the pieces of a CAR, cut anywhere, into its sections; holds at most one of them.

    `roots` is None, and `header` empty, until the header is read. Call `close` at the end of the
    stream: it raises InvalidCar where the CAR stops inside a section. `base` is where the CAR begins
    in what the client sent: all offsets count from there.
    """

    def __init__(self, max_section_bytes: int = MAX_SECTION_BYTES, base: int = 0) -> None:
        self.roots: tuple[Cid, ...] | None = None
        self.header = b""
        self._max_section_bytes = max_section_bytes
        self._buffer = bytearray()
        self._base = base

    def feed(self, data: Buffer) -> Iterator[Section]:
        """The sections that this piece completes; the iterator must be used up."""
        self._buffer += data
        at = 0 if self.roots is not None else self._read_header()
        try:
            while self.roots is not None and (found := self._section(at)) is not None:
                section, at = found
                yield section
        finally:
            del self._buffer[:at]
            self._base += at

    def close(self) -> None:
        if self.roots is None:
            raise InvalidCar("the header is cut off", self._base + len(self._buffer))
        if self._buffer:
            raise InvalidCar("the last section is cut off", self._base)

    def _read_header(self) -> int:
        parsed = _header(self._buffer, self._base)
        if parsed is None:
            return 0
        self.roots, end = parsed
        self.header = bytes(self._buffer[:end])
        return end

    def _section(self, at: int) -> tuple[Section, int] | None:
        span = _span(self._buffer, at, self._base, self._max_section_bytes)
        if span is None:
            return None
        start, end = span
        try:
            cid, data_start = Cid.read(self._buffer, start)
        except InvalidCid as error:
            raise InvalidCar(str(error), self._base + start) from error
        if data_start > end:
            raise InvalidCar("the CID does not fit its section", self._base + start)
        if end - data_start > MAX_BLOCK_BYTES:
            raise InvalidCar(f"a block has at most {MAX_BLOCK_BYTES} bytes", self._base + data_start)
        data = bytes(memoryview(self._buffer)[data_start:end])
        return Section(cid, data, self._base + data_start), end


class _Header:
    """Reads the one shape of dag-cbor that a CARv1 header has; `base` is where the body begins."""

    def __init__(self, body: bytes, base: int) -> None:
        self._body = body
        self._base = base
        self._at = 0

    def roots(self) -> tuple[Cid, ...]:
        if self._body.startswith(_PRAGMA):
            raise self._error("this is no CARv1")
        if self._take(1) != bytes([_MAP_OF_TWO]):
            raise self._error("the header is not a map of roots and version")
        # dag-cbor puts the shorter key first, but some writers did not.
        version_first = self._body.startswith(_VERSION, self._at)
        if version_first:
            self._version()
        roots = self._roots()
        if not version_first:
            self._version()
        if self._at != len(self._body):
            raise self._error("the header has bytes after its map")
        return roots

    def _version(self) -> None:
        if self._take(len(_VERSION) + 1) != _VERSION + b"\x01":
            raise self._error("the header does not say version 1")

    def _roots(self) -> tuple[Cid, ...]:
        if self._take(len(_ROOTS)) != _ROOTS:
            raise self._error("the header has no roots")
        count = self._argument(_ARRAY)
        # A root takes at least 4 bytes, so that a claimed count allocates nothing.
        if count > len(self._body) // 4:
            raise self._error(f"the header claims {count} roots")
        return tuple(self._root() for _ in range(count))

    def _root(self) -> Cid:
        if self._take(len(_CID_TAG)) != _CID_TAG:
            raise self._error("a root is not a link")
        raw = self._take(self._argument(_BYTES))
        try:
            if raw[:1] != b"\0":
                raise InvalidCid("no identity multibase prefix")
            return Cid.decode(raw[1:])
        except InvalidCid as error:
            raise self._error(f"a root is not a CID: {error}") from error

    def _argument(self, major: int) -> int:
        first = self._take(1)[0]
        info = first & 0x1F
        if first >> 5 != major or (info > 23 and info not in _ARGUMENT_BYTES):
            raise self._error("the header holds a value of the wrong type")
        return info if info < 24 else int.from_bytes(self._take(_ARGUMENT_BYTES[info]), "big")

    def _take(self, count: int) -> bytes:
        taken = self._body[self._at : self._at + count]
        if len(taken) != count:
            raise self._error("the header is cut off")
        self._at += count
        return taken

    def _error(self, message: str) -> InvalidCar:
        return InvalidCar(message, self._base + self._at)


def _cbor_head(major: int, value: int) -> bytes:
    if value < 24:
        return bytes([major << 5 | value])
    info = next(info for info, size in _ARGUMENT_BYTES.items() if value < 1 << 8 * size)
    return bytes([major << 5 | info]) + value.to_bytes(_ARGUMENT_BYTES[info], "big")
