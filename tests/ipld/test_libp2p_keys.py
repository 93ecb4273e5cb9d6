"""Keys as libp2p writes them (libp2p specs, "Peer Ids and Keys", with its test vectors)."""

from __future__ import annotations

import contextlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from ipld import libp2p_keys, protobuf
from ipld.errors import InvalidKey
from ipld.libp2p_keys import KeyType, PrivateKey, PublicKey

# From the test vectors of the specification.
ED25519_PRIVATE = (
    "080112407e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d1ed1e8fae2c4a144b8be8fd4b47bf3d3b"
    "34b871c3cacf6010f0e42d474fce27e"
)
ED25519_PUBLIC = "080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"
SECP256K1_PRIVATE = "0802122053DADF1D5A164D6B4ACDB15E24AA4C5B1D3461BDBD42ABEDB0A4404D56CED8FB"
SECP256K1_PUBLIC = "08021221037777e994e452c21604f91de093ce415f5432f701dd8cd1a7a6fea0e630bfca99"
ECDSA_PRIVATE = (
    "08031279307702010104203E5B1FE9712E6C314942A750BD67485DE3C1EFE85B1BFB520AE8F9AE3DFA4A4CA00A06082A8648CE3D"
    "030107A14403420004DE3D300FA36AE0E8F5D530899D83ABAB44ABF3161F162A4BC901D8E6ECDA020E8B6D5F8DA30525E71D6851"
    "510C098E5C47C646A597FB4DCEC034E9F77C409E62"
)
ECDSA_PUBLIC = (
    "0803125b3059301306072a8648ce3d020106082a8648ce3d03010703420004de3d300fa36ae0e8f5d530899d83abab44abf3161f16"
    "2a4bc901d8e6ecda020e8b6d5f8da30525e71d6851510c098e5c47c646a597fb4dcec034e9f77c409e62"
)


@pytest.mark.parametrize(
    ("private", "public"),
    [
        (ED25519_PRIVATE, ED25519_PUBLIC),
        (SECP256K1_PRIVATE, SECP256K1_PUBLIC),
        (ECDSA_PRIVATE, ECDSA_PUBLIC),
    ],
    ids=["ed25519", "secp256k1", "ecdsa"],
)
def test_vectors_of_the_specification(private: str, public: str) -> None:
    key = PrivateKey.decode(bytes.fromhex(private))
    assert key.encode() == bytes.fromhex(private)
    assert key.public.encode() == bytes.fromhex(public)
    assert PublicKey.decode(bytes.fromhex(public)) == key.public


@pytest.mark.parametrize("kind", list(KeyType))
def test_what_a_key_signs_its_other_half_knows(kind: KeyType) -> None:
    key = PrivateKey.generate(kind)
    again = PrivateKey.decode(key.encode())
    assert again.public == key.public == PublicKey.decode(key.public.encode())
    signature = again.sign(b"message")
    assert key.public.verify(signature, b"message")
    assert not key.public.verify(signature, b"massage")
    assert not key.public.verify(b"", b"message")
    assert not PrivateKey.generate(kind).public.verify(signature, b"message")
    assert repr(key) == f"PrivateKey({kind.name})"


def test_short_keys_lie_in_their_peer_id_and_long_ones_are_hashed() -> None:
    inlined = {KeyType.ED25519: 36, KeyType.SECP256K1: 37}
    for kind in KeyType:
        multihash = PrivateKey.generate(kind).public.multihash
        assert multihash[:2] == (bytes([0, inlined[kind]]) if kind in inlined else b"\x12\x20")


def wrapped(kind: int, data: bytes) -> bytes:
    return protobuf.write([(1, kind), (2, data)])


def rsa_key(bits: int, exponent: int = 65537) -> bytes:
    key = rsa.generate_private_key(exponent, bits).public_key()
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_rsa_keys_are_neither_weak_nor_heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidKey, match="2048 to 8192 bits, not 1024"):
        PublicKey.decode(wrapped(0, rsa_key(1024)))
    assert PublicKey.decode(wrapped(0, rsa_key(2048))).type is KeyType.RSA
    monkeypatch.setattr(libp2p_keys, "MAX_RSA_BITS", 2047)
    with pytest.raises(InvalidKey, match="2048 to 2047 bits"):
        PublicKey.decode(wrapped(0, rsa_key(2048)))
    monkeypatch.undo()
    monkeypatch.setattr(libp2p_keys, "MAX_RSA_EXPONENT", 3)
    with pytest.raises(InvalidKey, match="exponent"):
        PublicKey.decode(wrapped(0, rsa_key(2048)))


def other_curve() -> bytes:
    # Fixed: test ids have to be the same in every process.
    key = ec.derive_private_key(7, ec.SECP256K1()).public_key()
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def uncompressed() -> bytes:
    key = ec.derive_private_key(7, ec.SECP256K1()).public_key()
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x08\x01",
        bytes(libp2p_keys.MAX_PUBLIC_BYTES + 1),
        wrapped(4, bytes(32)),
        wrapped(1, bytes(31)),
        wrapped(2, b"\x02" + bytes(32) + b"\x01"),
        wrapped(2, b"\x09" + bytes(32)),
        wrapped(2, uncompressed()),
        wrapped(3, other_curve()),
        wrapped(0, bytes.fromhex(ECDSA_PUBLIC)[4:]),
        # Another way to write the same key, and with it another name.
        b"\x08\x81\x00" + bytes.fromhex(ED25519_PUBLIC)[2:],
        bytes.fromhex(ED25519_PUBLIC) + b"\x18\x01",
    ],
)
def test_bad_public_keys(raw: bytes) -> None:
    with pytest.raises(InvalidKey):
        PublicKey.decode(raw)


@pytest.mark.parametrize(
    "raw",
    [
        bytes(libp2p_keys.MAX_PRIVATE_BYTES + 1),
        wrapped(1, bytes(64)),
        wrapped(1, bytes(32)),
        wrapped(2, bytes(32)),
        wrapped(2, b"\xff" * 32),
        wrapped(0, b"\x30\x00"),
        wrapped(0, bytes.fromhex(ECDSA_PRIVATE)[4:]),
        wrapped(3, b"nothing"),
    ],
)
def test_bad_private_keys(raw: bytes) -> None:
    with pytest.raises(InvalidKey):
        PrivateKey.decode(raw)


@given(kind=st.integers(0, 5), data=st.binary(max_size=200), cut=st.binary(max_size=100))
def test_decoding_fails_in_one_way_only(kind: int, data: bytes, cut: bytes) -> None:
    for raw in (wrapped(kind, data), cut):
        for decode in (PublicKey.decode, PrivateKey.decode):
            with contextlib.suppress(InvalidKey):
                decode(raw)
