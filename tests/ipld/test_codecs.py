"""Codecs: the vectors that all implementations share, what nobody may accept, and what comes back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipld import cbor, codecs, dag_cbor, dag_json
from ipld.cid import CBOR, DAG_CBOR, DAG_JSON, DAG_PB, JSON, RAW, Cid
from ipld.data_model import MAX_DEPTH, Value
from ipld.errors import MalformedBlock
from ipld.hashes import verify
from tests.fixture_data import fixture_files, needs_fixtures

LINK = Cid.parse("bafyreidykglsfhoixmivffc5uwhcgshx4j465xwqntbmu43nb2dzqwfvae")
V0 = Cid.parse("QmQg1v4o9xdT3Q14wh4S7dxZkDjyZ9ssFzFzyep1YrVJBY")
NAMES = {"dag-cbor": DAG_CBOR, "dag-json": DAG_JSON, "dag-pb": DAG_PB}

VECTORS: list[tuple[Value, str, bytes]] = [
    (None, "f6", b"null"),
    (True, "f5", b"true"),
    (0, "00", b"0"),
    (23, "17", b"23"),
    (24, "1818", b"24"),
    (65536, "1a00010000", b"65536"),
    (2**64 - 1, "1bffffffffffffffff", b"18446744073709551615"),
    (-1, "20", b"-1"),
    (-(2**64), "3bffffffffffffffff", b"-18446744073709551616"),
    (-0.5, "fbbfe0000000000000", b"-0.5"),
    (1e-323, "fb0000000000000002", b"1e-323"),
    (-8.940696716308594e-8, "fbbe78000000000000", b"-8.940696716308594e-8"),
    (1.0, "fb3ff0000000000000", b"1.0"),
    ("水", "63e6b0b4", '"水"'.encode()),
    ("\b\n\x1f\x7f\\", "65080a1f7f5c", b'"\\b\\n\\u001f\x7f\\\\"'),
    (b"\xa1", "41a1", b'{"/":{"bytes":"oQ"}}'),
    ([], "80", b"[]"),
    ({}, "a0", b"{}"),
    ({"aa": 1, "b": [2]}, "a26162810262616101", b'{"aa":1,"b":[2]}'),
    (V0, "d82a582300" + V0.raw.hex(), b'{"/":"QmQg1v4o9xdT3Q14wh4S7dxZkDjyZ9ssFzFzyep1YrVJBY"}'),
    ([LINK], "81d82a582500" + LINK.raw.hex(), f'[{{"/":"{LINK}"}}]'.encode()),
    ({"/": True}, "a1612ff5", b'{"/":true}'),
    ({"/": {"/": b""}}, "a1612fa1612f40", b'{"/":{"/":{"/":{"bytes":""}}}}'),
    ({"!": 1, "/": "x"}, "a2612101612f6178", b'{"!":1,"/":"x"}'),
    ({"/": {"a": 1, "bytes": "x"}}, "a1612fa261610165627974657" + "36178", b'{"/":{"a":1,"bytes":"x"}}'),
]


@pytest.mark.parametrize(("value", "as_cbor", "as_json"), VECTORS)
def test_vectors(value: Value, as_cbor: str, as_json: bytes) -> None:
    for codec, block in ((DAG_CBOR, bytes.fromhex(as_cbor)), (DAG_JSON, as_json)):
        found = codecs.decode(codec, block)
        assert found == value
        assert type(found) is type(value)
        assert codecs.encode(codec, value) == block


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e16, "10000000000000000.0"),
        (123456789012345678901.0, "123456789012345680000.0"),
        (1e21, "1e+21"),
        (-1.5e300, "-1.5e+300"),
        (0.0001, "0.0001"),
        (1.5e-5, "0.000015"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (-0.0, "-0.0"),
    ],
)
def test_floats_are_written_as_others_write_them(value: float, text: str) -> None:
    assert dag_json.encode(value) == text.encode()
    assert repr(dag_json.decode(text.encode())) == repr(value)


REFUSED_CBOR = [
    "",
    "0000",
    "a263666f6f0163666f6f02",
    "a2616201616101",
    "a262616101616201",
    "a10101",
    "a1416101",
    "a17f6161ff01",
    "1817",
    "1900ff",
    "1a0000ffff",
    "1b00000000ffffffff",
    "3817",
    "780161",
    "580161",
    "980101",
    "b801616101",
    "f90000",
    "f93c00",
    "fa3f800000",
    "f97e00",
    "f97c00",
    "fb7ff8000000000000",
    "fb7ff0000000000000",
    "fbfff0000000000000",
    "f7",
    "f0",
    "f814",
    "f820",
    "9fff",
    "bfff",
    "7fff",
    "5fff",
    "ff",
    "1c",
    "1f",
    "fc",
    "c101",
    "c249010000000000000000",
    "d82a6100",
    "d82a80",
    "d82a40",
    "d82a4100",
    "d82a43001220",
    "d82a",
    "d82a582401" + LINK.raw.hex()[2:],
    "d82a582600" + LINK.raw.hex() + "00",
    "d9002a582500" + LINK.raw.hex(),
    "d82b582500" + LINK.raw.hex(),
    "61ff",
    "63eda080",
    "8201",
    "6261",
    "fb00",
    "19",
    "9bffffffffffffffff",
    "bbffffffffffffffff",
    "7bffffffffffffffff",
    "5bffffffffffffffff",
    "9affffffff",
]


@pytest.mark.parametrize("block", REFUSED_CBOR)
def test_what_dag_cbor_refuses(block: str) -> None:
    with pytest.raises(MalformedBlock, match=r"^dag-cbor: "):
        dag_cbor.decode(bytes.fromhex(block))


REFUSED_JSON = [
    "",
    "nope",
    "1 2",
    "[1,]",
    "[01]",
    "{'a':1}",
    '{"a":1,"a":1}',
    '{"a":{"b":1,"b":2}}',
    '{"a":1,"\\u0061":1}',
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "1" * 5000,
    '"\n"',
    '"\\ud800"',
    '"\\udc00"',
    '"\\udc00\\ud800"',
    '{"\\ud800x":1}',
    '{"/":"nope"}',
    f'{{"/":"{LINK}","a":1}}',
    f'{{"a":1,"/":"{LINK}"}}',
    f'{{"/":"{LINK.encode("base58btc")}"}}',
    f'{{"/":"{str(LINK).upper()}"}}',
    '{"/":{"bytes":"oQ=="}}',
    '{"/":{"bytes":"oR"}}',
    '{"/":{"bytes":"o"}}',
    '{"/":{"bytes":"o Q"}}',
    '{"/":{"bytes":"-_"}}',
    '{"/":{"bytes":"oQ","a2":1,"c":1}}'.replace('"a2":1,', ""),
    '{"/":{"bytes":"oQ"},"a":1}',
]


@pytest.mark.parametrize("block", REFUSED_JSON)
def test_what_dag_json_refuses(block: str) -> None:
    with pytest.raises(MalformedBlock, match=r"^dag-json: "):
        dag_json.decode(block.encode())


@pytest.mark.parametrize("block", [b'"\xff"', b"\xef\xbb\xbf1", b'"\xed\xa0\x80"', "1".encode("utf-16")])
def test_json_is_utf_8(block: bytes) -> None:
    for codec in (DAG_JSON, JSON):
        with pytest.raises(MalformedBlock):
            codecs.decode(codec, block)


def test_dag_json_of_other_writers_is_read() -> None:
    value = dag_json.decode(b' {"b": 1,\n"a": "\\ud83d\\ude00\\\\ud800"}\n')
    assert value == {"a": "😀\\ud800", "b": 1}
    assert dag_json.encode(value) == '{"a":"😀\\\\ud800","b":1}'.encode()


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), 2**64, -(2**64) - 1, "\ud800", {"\ud800": 1}, [[float("-inf")]]],
)
def test_what_dag_cbor_cannot_write(value: Value) -> None:
    with pytest.raises(MalformedBlock):
        dag_cbor.encode(value)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        "\ud800",
        {"/": "x"},
        {"/": str(LINK)},
        {"/": "x", "a": 1},
        {"/": {"bytes": "oQ"}},
        {"/": {"bytes": "", "c": 1}},
        pytest.param(10**5000, id="long"),
    ],
)
def test_what_dag_json_cannot_write(value: Value) -> None:
    with pytest.raises(MalformedBlock):
        dag_json.encode(value)


def test_plain_json_is_any_json() -> None:
    assert codecs.decode(JSON, b'{"a":1, "a":[{"/":"x"}]}\n') == {"a": [{"/": "x"}]}
    for block in (b"{", b"NaN", b"", b"[" * 2000):
        with pytest.raises(MalformedBlock, match=r"^json: "):
            codecs.decode(JSON, block)


@pytest.mark.parametrize(
    "block",
    [
        "00",
        "9f01ff",
        "bf616101ff",
        "7f61616162ff",
        "5fff",
        "c074",
        "f97e00",
        "f7",
        "f0",
        "f8ff",
        "a10101",
        "1817",
        "c11a514b67b0",
        "a2616101616102",
        "fa3f800000",
        "d82a4101",
        "9f9f80ffff",
    ],
)
async def test_plain_cbor_is_any_cbor(block: str) -> None:
    if block == "c074":
        block += "32303133" * 5
    await codecs.check(CBOR, bytes.fromhex(block))


@pytest.mark.parametrize(
    "block",
    [
        "",
        "ff",
        "1c",
        "1f",
        "3f",
        "df",
        "f814",
        "61ff",
        "0000",
        "9f",
        "bf6161ff",
        "7f4161ff",
        "7f7f6161ffff",
        "5f00ff",
        "81",
        "a101",
        "c0",
        "1bff",
        "5bffffffffffffffff",
        "9bffffffffffffffff",
        "bbffffffffffffffff",
    ],
)
def test_what_plain_cbor_refuses(block: str) -> None:
    with pytest.raises(MalformedBlock, match=r"^cbor: "):
        cbor.check(bytes.fromhex(block))


def test_codecs_that_we_lack() -> None:
    with pytest.raises(MalformedBlock, match="git-raw"):
        codecs.decode(0x78, b"")
    with pytest.raises(MalformedBlock):
        codecs.encode(RAW, "text")
    assert codecs.encode(RAW, codecs.decode(RAW, b"x")) == b"x"


@pytest.mark.parametrize("make", [lambda n: b"\x81" * n, lambda n: b"\xa1\x61a" * n])
def test_depth_of_dag_cbor(make: Callable[[int], bytes]) -> None:
    value = dag_cbor.decode(make(MAX_DEPTH) + b"\x00")
    assert dag_cbor.encode(value) == make(MAX_DEPTH) + b"\x00"
    assert dag_json.decode(dag_json.encode(value)) == value
    for depth in (MAX_DEPTH + 1, 1024 * 1024):
        with pytest.raises(MalformedBlock, match="more than 128"):
            dag_cbor.decode(make(depth) + b"\x00")
    for encode in (dag_cbor.encode, dag_json.encode):
        with pytest.raises(MalformedBlock, match="more than 128"):
            encode([value])


@pytest.mark.parametrize(("open_", "close"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth_of_json(open_: bytes, close: bytes) -> None:
    for codec in (DAG_JSON, JSON):
        codecs.decode(codec, open_ * MAX_DEPTH + b"1" + close * MAX_DEPTH)
        codecs.decode(codec, b"[" + b"[]," * 500 + b"[]]")
        for depth in (MAX_DEPTH + 1, 300_000):
            with pytest.raises(MalformedBlock, match="more than 128"):
                codecs.decode(codec, open_ * depth + b"1" + close * depth)
        with pytest.raises(MalformedBlock):
            codecs.decode(codec, open_ * 300_000)


def test_hostile_blocks_are_refused_at_once() -> None:
    mib = 1024 * 1024
    # Lists that each claim the rest of the block: cbrrr 1.1.0 reserves memory for every one of them.
    claims = b"".join(b"\x9a" + (2 * mib - 5 * n).to_bytes(4, "big") for n in range(1, 1001))
    start = time.process_time()
    for block in (b"\x81" * mib, b"\xa1" * mib, claims + bytes(2 * mib), b"\x9b" + b"\xff" * mib):
        with pytest.raises(MalformedBlock):
            dag_cbor.decode(block)
        with pytest.raises(MalformedBlock):
            cbor.check(b"\xd8\x2a" * mib + block)
    for block in (b"[" * mib, b'{"":' * mib, b'[{"":' * mib, b'"' + b"\\u" * mib):
        with pytest.raises(MalformedBlock):
            dag_json.decode(block)
    assert time.process_time() - start < 2


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
integers = st.integers(-(2**64), 2**64 - 1)
cids = st.builds(Cid.of, st.binary(max_size=4), st.sampled_from([RAW, DAG_PB, DAG_CBOR])) | st.just(V0)
scalars = st.none() | st.booleans() | integers | st.floats(allow_nan=False, allow_infinity=False) | texts
values: st.SearchStrategy[Value] = st.recursive(
    scalars | st.binary(max_size=40) | cids,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(texts, inner, max_size=6),
    max_leaves=30,
)


def damaged(value: Value, at: int, byte: int) -> bytes:
    block = bytearray(dag_cbor.encode(value))
    block[at % len(block)] = byte
    return bytes(block)


@given(values)
def test_what_is_written_is_read_back(value: Value) -> None:
    block = dag_cbor.encode(value)
    assert dag_cbor.decode(block) == value
    assert dag_cbor.encode(dag_cbor.decode(block)) == block
    cbor.check(block)
    with suppress(MalformedBlock):
        text = dag_json.encode(value)
        assert dag_json.decode(text) == value
        assert dag_json.encode(dag_json.decode(text)) == text


@given(st.binary(max_size=200) | st.builds(damaged, values, st.integers(0), st.integers(0, 255)))
def test_only_malformed_block_is_raised(block: bytes) -> None:
    for codec in (DAG_CBOR, DAG_JSON, DAG_PB):
        with suppress(MalformedBlock):
            value = codecs.decode(codec, block)
            if codec == DAG_CBOR:
                assert codecs.encode(codec, value) == block
            else:
                codecs.encode(codec, value)
    with suppress(MalformedBlock):
        codecs.decode(JSON, block)
    with suppress(MalformedBlock):
        cbor.check(block)


@given(st.text('[]{}"\\:,/u0d89bytesnul1-.eE \n', max_size=60) | st.text(max_size=60))
def test_only_malformed_block_is_raised_by_json(text: str) -> None:
    for codec in (DAG_JSON, JSON):
        with suppress(MalformedBlock):
            value = codecs.decode(codec, text.encode("utf-8", "surrogatepass"))
            if codec == DAG_JSON:
                assert dag_json.decode(dag_json.encode(value)) == value


async def test_large_blocks_are_decoded_aside() -> None:
    value: Value = [{"n": n, "link": LINK} for n in range(5000)]
    assert await codecs.decode_aside(DAG_CBOR, dag_cbor.encode(value)) == value
    assert await codecs.decode_aside(DAG_CBOR, b"\x00") == 0
    await codecs.check(DAG_CBOR, dag_cbor.encode(value))
    with pytest.raises(MalformedBlock):
        await codecs.check(DAG_CBOR, dag_cbor.encode(value) + b"\x00")


FILES = fixture_files("codec/*/*.dag-*")
DECODE = fixture_files("codec-negative/*/decode/*.json")
ENCODE = fixture_files("codec-negative/*/encode/*.json")


class TestFixtures:
    pytestmark = needs_fixtures

    def test_are_here(self) -> None:
        assert len(FILES) > 250

    @pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}{path.suffix}")
    def test_come_back_as_the_same_bytes(self, path: Path) -> None:
        codec, block, cid = NAMES[path.suffix[1:]], path.read_bytes(), Cid.parse(path.stem)
        assert cid.codec == codec
        verify(cid, block)
        assert codecs.encode(codec, codecs.decode(codec, block)) == block

    @pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=lambda path: path.name)
    def test_mean_the_same_in_every_codec(self, folder: Path) -> None:
        paths = sorted(folder.iterdir())
        assert len(paths) > 1
        found = [codecs.decode(NAMES[path.suffix[1:]], path.read_bytes()) for path in paths]
        assert all(value == found[0] for value in found)
        for path in paths:
            if path.suffix != ".dag-pb":
                assert codecs.encode(NAMES[path.suffix[1:]], found[0]) == path.read_bytes()

    @pytest.mark.parametrize(
        "path", fixture_files("codec-negative/*/decode/*.json"), ids=lambda path: path.parts[-3]
    )
    def test_that_no_decoder_takes(self, path: Path) -> None:
        for case in json.loads(path.read_bytes()):
            with pytest.raises(MalformedBlock):
                codecs.decode(NAMES[path.parts[-3]], bytes.fromhex(case["hex"]))

    @pytest.mark.parametrize(
        "path", fixture_files("codec-negative/*/encode/*.json"), ids=lambda path: path.stem
    )
    def test_that_no_encoder_takes(self, path: Path) -> None:
        for case in json.loads(path.read_bytes()):
            value = dag_json.decode(json.dumps(case["dag-json"]).encode())
            with pytest.raises(MalformedBlock):
                codecs.encode(NAMES[path.parts[-3]], value)
