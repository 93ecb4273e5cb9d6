from __future__ import annotations

import copy
import pickle
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multiformats import CID

from ipld import varint
from ipld.blocks import verify
from ipld.cid import (
    DAG_CBOR,
    DAG_JSON,
    DAG_PB,
    JSON,
    LIBP2P_KEY,
    RAW,
    Cid,
    codec_code,
    codec_name,
    hash_name,
)
from ipld.errors import BlockCorrupt, InvalidCid, UnsupportedHash
from tests.fixture_data import fixture_files, needs_fixtures

V0 = "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"
V1 = "bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
CODECS = [RAW, DAG_PB, DAG_CBOR, DAG_JSON, JSON, LIBP2P_KEY]
HASHES = {"sha2-256": 32, "sha1": 20, "sha2-512": 64, "sha3-256": 32, "blake2b-256": 32, "dbl-sha2-256": 32}


@given(st.sampled_from(CODECS), st.sampled_from(sorted(HASHES)), st.data())
def test_is_equal_to_the_cid_of_multiformats(codec: int, name: str, data: st.DataObject) -> None:
    digest = data.draw(st.binary(min_size=HASHES[name], max_size=HASHES[name]))
    theirs = CID("base32", 1, codec, (name, digest))
    ours = Cid.decode(bytes(theirs))
    assert str(ours) == str(theirs)
    assert (ours.version, ours.codec, ours.digest) == (1, codec, digest)
    assert hash_name(ours.hash_code) == name
    assert ours.multihash == theirs.digest
    for base in ("base32", "base32upper", "base36", "base58btc", "base64url", "base16"):
        text = str(theirs.set(base=base))
        assert ours.encode(base) == text
        assert Cid.parse(text) == ours


@given(st.binary(min_size=32, max_size=32))
def test_version_0_is_base58_and_nothing_else(digest: bytes) -> None:
    cid = Cid.of_digest(digest, DAG_PB, 0)
    assert str(cid) == str(CID("base58btc", 0, "dag-pb", ("sha2-256", digest)))
    assert Cid.parse(str(cid)) == cid
    assert cid.version == 0
    assert cid.to_v1().to_v1().multihash == cid.multihash == cid.raw
    with pytest.raises(InvalidCid):
        Cid.parse("z" + str(cid))


def test_constants_are_those_of_the_table() -> None:
    names = {"raw": RAW, "dag-pb": DAG_PB, "dag-cbor": DAG_CBOR, "dag-json": DAG_JSON}
    names |= {"json": JSON, "libp2p-key": LIBP2P_KEY}
    assert {name: codec_code(name) for name in names} == names
    assert codec_name(DAG_JSON) == "dag-json"
    assert codec_name(0x3FFFFF) == "0x3fffff"
    with pytest.raises(InvalidCid):
        codec_code("no-such-codec")


def test_known_texts() -> None:
    v0, v1 = Cid.parse(V0), Cid.parse(V1)
    assert str(v0) == V0
    assert v0.encode("base58btc") == V0
    assert v0.encode("base32") == str(v0.to_v1())
    assert str(v1) == V1
    assert Cid.of(b"", DAG_PB) == v1
    assert Cid.parse(V1.upper()) == v1
    assert v0 != v0.to_v1()
    assert v0 != V0


def test_never_changes() -> None:
    cid = Cid.parse(V1)
    with pytest.raises(AttributeError):
        cid.raw = b""
    with pytest.raises(AttributeError):
        del cid.raw
    assert pickle.loads(pickle.dumps(cid)) == copy.deepcopy(cid) == cid
    assert len({cid, Cid.parse(V1), Cid.parse(V0)}) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        "z",
        "bafy",
        "QmInvalidCID",
        "Qm" + "1" * 44,
        "Qm" + "z" * 44,
        V1[:-1],
        V1 + "a",
        "é",
        "\ud800",
        "z" + "1" * 600,
        "b" * 100000,
        "12D3KooWLQzUv2FHWGVPXTXSZpdHs7oHbXub2G5WC8Tx4NQhyd2d",
        V1 + "\n",
    ],
)
def test_what_is_no_cid(text: str) -> None:
    with pytest.raises(InvalidCid):
        Cid.parse(text)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "01",
        "0155",
        "015512",
        "01551220" + "00" * 31,
        "01551220" + "00" * 33,
        "0155121f" + "00" * 31,
        "02551220" + "00" * 32,
        "1220" + "00" * 31,
        "1221" + "00" * 33,
        "81005512" + "20" + "00" * 32,
        "01d5001220" + "00" * 32,
        "0155" + "ff" * 20,
        "0155008101" + "00" * 129,
        "01" + "80" * 9 + "01" + "1220" + "00" * 32,
    ],
)
def test_bytes_that_are_no_cid(raw: str) -> None:
    with pytest.raises(InvalidCid):
        Cid.decode(bytes.fromhex(raw))


def test_identity_up_to_128_bytes() -> None:
    cid = Cid.of(b"x" * 128, RAW, hash="identity")
    assert cid.is_identity
    assert cid.digest == b"x" * 128
    assert Cid.parse(cid.encode("base16")) == cid
    verify(cid, b"x" * 128)
    with pytest.raises(InvalidCid):
        Cid.of(b"x" * 129, RAW, hash="identity")


@given(st.binary(max_size=60), st.text(max_size=80))
def test_only_invalid_cid_is_raised(raw: bytes, text: str) -> None:
    for read in (lambda: Cid.decode(raw), lambda: Cid.parse(text), lambda: Cid.read(b"\x01\x55" + raw)):
        with suppress(InvalidCid):
            read()


def test_read_says_where_the_cid_ends() -> None:
    v0, v1 = Cid.parse(V0), Cid.of(b"x", DAG_JSON, hash="sha2-512")
    buffer = b"??" + v0.raw + v1.raw + b"rest"
    assert Cid.read(buffer, 2) == (v0, 36)
    assert Cid.read(memoryview(buffer), 36) == (v1, 36 + len(v1.raw))
    with pytest.raises(InvalidCid):
        Cid.read(buffer[:60], 36)


@pytest.mark.parametrize(
    "name",
    [
        "sha1",
        "sha2-256",
        "sha2-512",
        "sha3-224",
        "sha3-256",
        "sha3-384",
        "sha3-512",
        "blake2b-160",
        "blake2b-256",
        "blake2b-512",
        "blake2s-256",
        "blake3",
        "dbl-sha2-256",
        "identity",
    ],
)
def test_verify_under_every_hash_that_kubo_reads(name: str) -> None:
    cid = Cid.of(b"hello", DAG_CBOR, hash=name)
    verify(cid, b"hello")
    verify(cid, memoryview(b"hello"))
    assert Cid.parse(str(cid)) == cid
    with pytest.raises(BlockCorrupt):
        verify(cid, b"hell0")


def test_verify_refuses_what_it_cannot_check() -> None:
    short = Cid.decode(b"\x01\x55\x1e\x10" + b"\0" * 16)
    unknown = Cid.decode(b"\x01\x55" + varint.encode(0x1013) + b"\x20" + b"\0" * 32)
    for cid in (short, unknown):
        with pytest.raises(UnsupportedHash):
            verify(cid, b"")
    with pytest.raises(UnsupportedHash):
        Cid.of(b"", hash="md4")
    with pytest.raises(InvalidCid):
        Cid.of(b"", RAW, version=0)
    with pytest.raises(BlockCorrupt):
        verify(Cid.parse(V0), b"")


class TestVarint:
    @given(st.integers(0, 2**63 - 1))
    def test_round_trip(self, value: int) -> None:
        encoded = varint.encode(value)
        assert varint.size(value) == len(encoded)
        assert varint.read(encoded, 0, len(encoded)) == (value, len(encoded))
        assert varint.read_protobuf(encoded, 0, len(encoded)) == (value, len(encoded))

    @given(st.binary(max_size=12))
    def test_strict_ones_are_the_encodings_and_no_others(self, raw: bytes) -> None:
        try:
            value, end = varint.read(raw, 0, len(raw))
        except varint.InvalidVarint:
            return
        assert varint.encode(value) == raw[:end]

    def test_cut_is_not_the_same_as_wrong(self) -> None:
        with pytest.raises(varint.CutVarint):
            varint.read(b"\x80" * 8, 0, 8)
        with pytest.raises(varint.InvalidVarint, match="longer"):
            varint.read(b"\x80" * 9, 0, 9)
        with pytest.raises(varint.InvalidVarint, match="64 bits"):
            varint.read_protobuf(b"\xff" * 9 + b"\x7f", 0, 10)


class TestVectors:
    pytestmark = needs_fixtures

    def test_every_codec_fixture_is_named_by_its_cid(self) -> None:
        files = fixture_files("codec/*/*.*")
        assert files
        for file in files:
            if file.name.startswith("."):
                continue
            cid = Cid.parse(file.stem)
            assert str(cid) == file.stem
            verify(cid, file.read_bytes())
            assert codec_name(cid.codec) == file.suffix[1:]
