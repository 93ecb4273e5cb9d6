from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipld import car, varint
from ipld.blocks import MAX_BLOCK_BYTES, Block, verify
from ipld.car import CarParser, Section
from ipld.cid import DAG_PB, RAW, Cid
from ipld.errors import InvalidCar
from tests.fixture_data import fixture, fixture_files, needs_fixtures

payloads = st.lists(st.binary(max_size=40), max_size=6)


def block(data: bytes, version: int = 1) -> Block:
    return Block(Cid.of(data, RAW if version else DAG_PB, version), data)


def write(roots: list[Cid], blocks: list[Block]) -> bytes:
    return car.header(roots) + b"".join(car.frame(b.cid, len(b.data)) + b.data for b in blocks)


def parse(data: bytes, cuts: list[int] | None = None) -> tuple[CarParser, list[Section]]:
    parser, sections, start = CarParser(), list[Section](), 0
    for stop in [*sorted(cuts or []), len(data)]:
        sections += parser.feed(data[start:stop])
        start = max(start, stop)
    parser.close()
    return parser, sections


@given(payloads, st.integers(0, 30), st.lists(st.integers(0, 400)))
def test_round_trip_however_the_stream_is_cut(data: list[bytes], roots: int, cuts: list[int]) -> None:
    blocks = [block(item, index % 2) for index, item in enumerate(data)]
    root_cids = [block(bytes([n]), n % 2).cid for n in range(roots)]
    archive = write(root_cids, blocks)
    parser, sections = parse(archive, cuts)
    assert parser.roots == tuple(root_cids)
    assert [(s.cid, s.data) for s in sections] == [(b.cid, b.data) for b in blocks]
    for section in sections:
        assert archive[section.offset : section.offset + len(section.data)] == section.data
    assert archive.startswith(car.header(root_cids))


def test_header_bytes_of_one_root() -> None:
    root = Cid.parse("bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku")
    expected = b"\x3a\xa2\x65roots\x81\xd8\x2a\x58\x25\x00" + root.raw + b"\x67version\x01"
    assert car.header([root]) == expected


def test_version_may_stand_before_roots() -> None:
    body = b"\xa2\x67version\x01\x65roots\x80"
    parser, sections = parse(varint.encode(len(body)) + body)
    assert (parser.roots, sections) == ((), [])


def header_of(body: bytes) -> bytes:
    return varint.encode(len(body)) + body


EMPTY = car.header([])


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (b"", 0),
        (EMPTY[:-1], len(EMPTY) - 1),
        (b"\x00", 0),
        (b"\xff\xff\xff\xff\x0f", 0),
        (b"\xff" * 9, 0),
        (b"\x81\x00", 0),
        (header_of(b"\xa1\x67version\x02") + b"\0" * 40, 1),
        (header_of(b"\xa2\x65roots\x80\x67version\x02"), 18),
        (header_of(b"\xa2\x65roots\x9b" + b"\xff" * 8 + b"\x67version\x01"), 17),
        (header_of(b"\xa2\x65roots\x81\x40\x67version\x01"), 11),
        (header_of(b"\xa2\x65roots\x81\xd8\x2a\x41\x00\x67version\x01"), 13),
        (header_of(b"\xa2\x65roots\x80\x67version\x01\x00"), 18),
        (header_of(b"\x81" * 5000), 3),
        (EMPTY + b"\x00", len(EMPTY)),
        (EMPTY + b"\xff\xff\xff\x7f", len(EMPTY)),
        (EMPTY + b"\x02\x01\x55", len(EMPTY) + 1),
        (EMPTY + b"\x05\x01\x55\x12\x20\x00" + b"\0" * 40, len(EMPTY) + 1),
        (EMPTY + b"\x25" + b"\0" * 10, len(EMPTY)),
    ],
)
def test_errors_name_the_byte(data: bytes, offset: int) -> None:
    with pytest.raises(InvalidCar, match=f"at byte {offset} of") as caught:
        parse(data)
    assert caught.value.offset == offset


def test_offset_counts_over_sections_and_feeds() -> None:
    good = write([], [block(b"abc")])
    with pytest.raises(InvalidCar) as caught:
        parse(good + b"\x00", [5, 20, 30])
    assert caught.value.offset == len(good)


def test_a_block_has_a_largest_size() -> None:
    largest = block(bytes(MAX_BLOCK_BYTES))
    assert parse(write([], [largest]), [])[1][0].data == largest.data
    with pytest.raises(InvalidCar, match=f"at most {MAX_BLOCK_BYTES} bytes"):
        parse(write([], [block(bytes(MAX_BLOCK_BYTES + 1))]), [])


def test_a_claimed_length_is_refused_before_its_bytes_come() -> None:
    parser = CarParser(max_section_bytes=1000)
    assert list(parser.feed(EMPTY)) == []
    with pytest.raises(InvalidCar, match="length 1001"):
        list(parser.feed(varint.encode(1001)))


@given(st.binary(max_size=80), st.integers(0, 90), st.integers(0, 255))
def test_only_invalid_car_is_raised(noise: bytes, at: int, byte: int) -> None:
    good = bytearray(write([block(b"r").cid], [block(b"abc")]))
    good[at] = byte
    for data in (noise, EMPTY + noise, bytes(good)):
        with suppress(InvalidCar):
            parse(data)


class TestVectors:
    pytestmark = needs_fixtures

    @pytest.mark.parametrize("name", [str(path) for path in fixture_files("gateway-conformance/**/*.car")])
    def test_conformance_cars(self, name: str) -> None:
        data = fixture(name)
        parser, sections = parse(data, list(range(0, len(data), 777)))
        assert data.startswith(car.header(parser.roots or ()))
        for section in sections:
            verify(section.cid, section.data)

    @pytest.mark.parametrize(
        ("name", "sections"),
        [("sample-v1", 1049), ("sample-v1-noidentity", 1043)],
    )
    def test_good_samples(self, name: str, sections: int) -> None:
        assert len(parse(fixture(f"car/{name}.car"))[1]) == sections

    @pytest.mark.parametrize(
        "name",
        ["corrupt-pragma", "rootless-v42", "v1-tailing-corrupt-section", "v1-with-zero-len-section"],
    )
    def test_bad_samples(self, name: str) -> None:
        with pytest.raises(InvalidCar):
            parse(fixture(f"car/sample-{name}.car"))
