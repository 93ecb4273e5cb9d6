"""Reading what others call a CAR: version 1, or version 2 with the version 1 inside it."""

from __future__ import annotations

from collections.abc import Iterator

from ipld.car import Buffer, CarParser, Section
from ipld.cid import Cid
from ipld.errors import InvalidCar

# CARv2 spec, "Pragma" and "Header": characteristics (16 bytes), then three little-endian uint64.
_PRAGMA = b"\x0a\xa1\x67version\x02"
_LEAD_BYTES = len(_PRAGMA) + 40
_OFFSET_AT, _SIZE_AT, _INDEX_AT = (len(_PRAGMA) + at for at in (16, 24, 32))
# No file goes further; such numbers come from corruption, or were negative once.
_MAX_POSITION = 1 << 63


class CarReader:
    """Turns the pieces of a CAR of either version, cut anywhere, into its sections.

    A version 2 may have an index behind its data: it is not read, for it says nothing that the blocks
    do not. Call `close` at the end of the stream. Both raise InvalidCar, whose offset counts from the
    first byte of the stream. `body_stop` is where the sections end, None where that is the end of
    the stream (version 1).
    """

    def __init__(self) -> None:
        self.body_stop: int | None = None
        self._inner = CarParser()
        self._inner_start = 0
        self._is_inside = False
        self._lead = bytearray()
        self._position = 0

    @property
    def roots(self) -> tuple[Cid, ...] | None:
        """The roots that the header names; None until it was read."""
        return self._inner.roots

    @property
    def header(self) -> bytes:
        """The version 1 header, byte for byte; empty until it was read."""
        return self._inner.header

    @property
    def body_start(self) -> int:
        """Where the first section begins, once the header was read."""
        return self._inner_start + len(self._inner.header)

    def feed(self, data: Buffer) -> Iterator[Section]:
        """The sections that this piece completes; the iterator must be used up."""
        rest = memoryview(data)
        if not self._is_inside:
            rest = self._read_lead(rest)
        if self.body_stop is not None:
            rest = rest[: max(0, self.body_stop - self._position)]
        if rest:
            self._position += len(rest)
            yield from self._inner.feed(rest)
            if self._position == self.body_stop:
                self._inner.close()

    def close(self) -> None:
        if not self._is_inside:
            raise InvalidCar("the header is cut off", self._position)
        if self.body_stop is None:
            self._inner.close()
        elif self._position < self.body_stop:
            raise InvalidCar(f"the data, which goes up to byte {self.body_stop}, is cut off", self._position)

    def _read_lead(self, rest: memoryview) -> memoryview:
        """Take what stands before the version 1; the rest belongs to that."""
        rest = self._collect(rest, len(_PRAGMA))
        # No version 1 header is so short: its first byte tells them apart.
        if not _PRAGMA.startswith(self._lead[: len(_PRAGMA)]):
            self._is_inside = True
            list(self._inner.feed(self._lead))
            return rest
        rest = self._collect(rest, _LEAD_BYTES)
        if len(self._lead) == _LEAD_BYTES:
            if self.body_stop is None:
                self._read_v2_header()
            padding = min(self._inner_start - self._position, len(rest))
            self._position += padding
            rest = rest[padding:]
            self._is_inside = self._position == self._inner_start
        return rest

    def _collect(self, data: memoryview, wanted: int) -> memoryview:
        taken = max(0, wanted - len(self._lead))
        self._lead += data[:taken]
        self._position += len(data[:taken])
        return data[taken:]

    def _read_v2_header(self) -> None:
        offset, size, index = (
            int.from_bytes(self._lead[at : at + 8], "little") for at in (_OFFSET_AT, _SIZE_AT, _INDEX_AT)
        )
        if not _LEAD_BYTES <= offset < _MAX_POSITION:
            raise InvalidCar(f"the data cannot begin at {offset}", _OFFSET_AT)
        if not 0 < size < _MAX_POSITION - offset:
            raise InvalidCar(f"the data cannot have {size} bytes", _SIZE_AT)
        if index and index < offset + size:
            raise InvalidCar(f"the index cannot begin at {index}, which is inside the data", _INDEX_AT)
        self._inner = CarParser(base=offset)
        self._inner_start, self.body_stop = offset, offset + size
