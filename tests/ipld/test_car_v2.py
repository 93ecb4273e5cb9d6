from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipld import car, varint
from ipld.blocks import Block, verify
from ipld.car import Section
from ipld.car_reader import CarReader
from ipld.cid import RAW, Cid
from ipld.errors import BlockCorrupt, InvalidCar, InvalidCid
from tests.fixture_data import fixture, needs_fixtures

PRAGMA = bytes.fromhex("0aa16776657273696f6e02")


def block(data: bytes) -> Block:
    return Block(Cid.of(data, RAW), data)


def version_1(roots: list[Cid], blocks: list[Block]) -> bytes:
    return car.header(roots) + b"".join(car.frame(b.cid, len(b.data)) + b.data for b in blocks)


def version_2(
    inner: bytes, padding: int = 0, index: bytes = b"", *, offset: int | None = None, size: int | None = None
) -> bytes:
    start = 51 + padding
    numbers = (
        start if offset is None else offset,
        len(inner) if size is None else size,
        start + len(inner) if index else 0,
    )
    head = PRAGMA + bytes(16) + b"".join(number.to_bytes(8, "little") for number in numbers)
    return head + bytes(padding) + inner + index


def read(data: bytes, cuts: list[int] | None = None) -> tuple[CarReader, list[Section]]:
    reader, sections, start = CarReader(), list[Section](), 0
    for stop in [*sorted(cuts or []), len(data)]:
        sections += reader.feed(data[start:stop])
        start = max(start, stop)
    reader.close()
    return reader, sections


BLOCKS = [block(b"abc"), block(b""), block(b"x" * 300)]
INNER = version_1([BLOCKS[0].cid], BLOCKS)
# A literal, for a clone without the fixtures: one root, one block "abc", padding of 5, an index of 3.
LITERAL = bytes.fromhex(
    "0aa16776657273696f6e02"
    "00000000000000000000000000000000380000000000000063000000000000009b00000000000000"
    "0000000000"
    "3aa265726f6f747381d82a582500015512"
    "20ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    "6776657273696f6e0127"
    "01551220ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad616263"
    "ffffff"
)


def test_a_literal() -> None:
    reader, [section] = read(LITERAL)
    assert (section.cid, section.data) == (Cid.of(b"abc"), b"abc")
    assert reader.roots == (Cid.of(b"abc"),)
    assert reader.header == car.header([Cid.of(b"abc")])
    assert (reader.body_start, reader.body_stop) == (56 + 59, 56 + 99)
    assert LITERAL[section.offset :][:3] == b"abc"


@given(
    st.lists(st.binary(max_size=40), max_size=5),
    st.integers(0, 5),
    st.integers(0, 70),
    st.binary(max_size=30),
    st.lists(st.integers(0, 500)),
)
def test_round_trip_however_the_stream_is_cut(
    data: list[bytes], roots: int, padding: int, index: bytes, cuts: list[int]
) -> None:
    blocks = [block(item) for item in data]
    inner = version_1([block(bytes([n])).cid for n in range(roots)], blocks)
    for archive in (inner, version_2(inner, padding, index)):
        reader, sections = read(archive, cuts)
        assert [(s.cid, s.data) for s in sections] == [(b.cid, b.data) for b in blocks]
        assert all(archive[s.offset : s.offset + len(s.data)] == s.data for s in sections)
        assert archive[reader.body_start - len(reader.header) : reader.body_stop] == inner


@pytest.mark.parametrize("archive", [INNER, version_2(INNER, 3), version_2(INNER, 0, b"index")])
def test_every_cut_into_two(archive: bytes) -> None:
    for at in range(len(archive) + 1):
        assert len(read(archive, [at])[1]) == 3
    assert len(read(archive, list(range(len(archive))))[1]) == 3


@pytest.mark.parametrize("padding", [0, 7])
def test_truncation_at_every_byte(padding: int) -> None:
    whole = version_2(INNER, padding)
    for at in range(len(whole)):
        with pytest.raises(InvalidCar) as caught:
            read(whole[:at])
        assert caught.value.offset <= at
    indexed = version_2(INNER, padding, b"index")
    for at in range(len(whole), len(indexed) + 1):
        assert len(read(indexed[:at])[1]) == 3, "the index is not looked at"


def test_no_wrong_byte_gives_a_wrong_block() -> None:
    """Wherever it is: an error, or a byte that says nothing (characteristics, padding, index)."""
    whole = version_2(INNER, 4, b"index")
    expected = [(b.cid, b.data) for b in BLOCKS]
    silent = set()
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 0x41
        try:
            _, sections = read(bytes(damaged))
            for section in sections:
                verify(section.cid, section.data)
        except (InvalidCar, InvalidCid, BlockCorrupt):
            continue
        assert len(sections) == 3
        silent.add(at)
        found = [(s.cid, s.data) for s in sections]
        # A codec is not hashed: the same bytes under another one.
        assert [data for _, data in found] == [data for _, data in expected]
    header = set(range(55, 55 + len(car.header([BLOCKS[0].cid]))))
    codecs = {55 + INNER.index(b.cid.raw, 59) + 1 for b in BLOCKS}
    index_offset = set(range(43, 51))
    assert (
        silent
        <= set(range(11, 27))
        | index_offset
        | set(range(51, 55))
        | set(range(len(whole) - 5, len(whole)))
        | header
        | codecs
    )


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (b"\x0a", 1),
        (PRAGMA, 11),
        (PRAGMA + bytes(39), 50),
        (PRAGMA + bytes(40), 27),
        (version_2(INNER, offset=50), 27),
        (version_2(INNER, offset=2**63), 27),
        (version_2(INNER, offset=2**64 - 1), 27),
        (version_2(INNER, size=0), 35),
        (version_2(INNER, size=2**63), 35),
        (version_2(INNER, size=2**63 - 52), len(version_2(INNER))),
        (version_2(INNER, size=len(INNER) + 1), len(version_2(INNER))),
        (version_2(INNER, offset=10_000), len(version_2(INNER))),
        (version_2(INNER, size=10), 61),
        (version_2(INNER, size=len(INNER) - 1), 51 + INNER.index(BLOCKS[2].cid.raw) - 2),
        (version_2(version_2(INNER)), 52),
        (version_2(INNER + b"\x00"), 51 + len(INNER)),
        (version_2(b"\xff" * 9), 51),
        (version_2(varint.encode(10 * 2**20) + b"\xa2" * 100), 51),
        (version_2(car.header([]) + varint.encode(2**63 - 1)), 51 + 18),
    ],
)
def test_errors_name_the_byte_in_the_stream(data: bytes, offset: int) -> None:
    for cuts in ([], list(range(0, len(data), 7))):
        with pytest.raises(InvalidCar, match=f"at byte {offset} of") as caught:
            read(data, cuts)
        assert caught.value.offset == offset


def test_an_index_inside_the_data_is_refused() -> None:
    whole = bytearray(version_2(INNER))
    whole[43:51] = (60).to_bytes(8, "little")
    with pytest.raises(InvalidCar, match="at byte 43 of"):
        read(bytes(whole))


def test_lengths_are_refused_before_their_bytes_come() -> None:
    for hostile in (varint.encode(10 * 2**20), car.header([]) + varint.encode(2**62), b"\xff" * 12):
        for start in (hostile, version_2(hostile, size=2**40)):
            with pytest.raises(InvalidCar):
                list(CarReader().feed(start))


@given(st.binary(max_size=120), st.booleans())
def test_only_invalid_car_is_raised(noise: bytes, inside: bool) -> None:
    with suppress(InvalidCar):
        read(version_2(noise) if inside else PRAGMA + noise)


class TestVectors:
    pytestmark = needs_fixtures

    @pytest.mark.parametrize(
        ("name", "sections", "roots"),
        [
            ("v1", 1049, 1),
            ("v1-noidentity", 1043, 1),
            ("v2-indexless", 1049, 1),
            ("wrapped-v2", 1049, 1),
            ("rw-bs-v2", 3, 3),
            ("unixfs-v2", 3, 1),
        ],
    )
    def test_good_samples(self, name: str, sections: int, roots: int) -> None:
        data = fixture(f"car/sample-{name}.car")
        reader, found = read(data, list(range(0, len(data), 777)))
        assert len(found) == sections
        assert len(reader.roots or ()) == roots
        for section in found:
            verify(section.cid, section.data)

    def test_the_inside_is_the_version_1(self) -> None:
        data = fixture("car/sample-wrapped-v2.car")
        reader, _ = read(data)
        assert data[51 : reader.body_stop] == fixture("car/sample-v1.car")

    @pytest.mark.parametrize(
        ("name", "offset"),
        [
            ("corrupt-pragma.car", 16),
            ("rootless-v42.car", 1),
            ("v1-tailing-corrupt-section.car", 479518),
            ("v1-with-zero-len-section.car", 479907),
            ("v1-with-zero-len-section2.car", 20819),
            ("v2-corrupt-data-and-index.car", 27),
            ("index.carindex", 3),
            ("multihash-index-sorted.carindex", 3),
        ],
    )
    def test_bad_samples(self, name: str, offset: int) -> None:
        with pytest.raises(InvalidCar) as caught:
            read(fixture(f"car/sample-{name}"))
        assert caught.value.offset == offset
