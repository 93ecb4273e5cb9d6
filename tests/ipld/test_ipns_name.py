"""IPNS names in every form (IPNS record spec, "String Representation"; PeerID spec, "Decoding")."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipld.cid import LIBP2P_KEY, Cid
from ipld.errors import InvalidName
from ipld.ipns_name import MAX_TEXT, IpnsName, is_bare_multihash
from ipld.libp2p_keys import KeyType, PrivateKey

# From the official suite: an Ed25519 key and an RSA key.
PAIRS = [
    (
        "12D3KooWRBy97UB99e3J6hiPesre1MZeuNQvfan4gBziswrRJsNK",
        "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8",
    ),
    (
        "QmcJM7PRfkSbcM5cf1QugM5R37TLRKyJGgBEhXjLTB8uA2",
        "k2k4r8ol4m8kkcqz509c1rcjwunebj02gcnm5excpx842u736nja8ger",
    ),
]


@pytest.mark.parametrize(("bare", "canonical"), PAIRS)
def test_base58_and_base36_are_one_name(bare: str, canonical: str) -> None:
    name = IpnsName.parse(bare)
    assert str(name) == canonical
    assert IpnsName.parse(canonical) == name == IpnsName.of_bytes(name.multihash)
    assert is_bare_multihash(bare)
    assert not is_bare_multihash(canonical)


@pytest.mark.parametrize("kind", list(KeyType))
@pytest.mark.parametrize("base", ["base32", "base36", "base36upper", "base58btc", "base16", "base64url"])
def test_every_multibase_and_kind_of_key(kind: KeyType, base: str) -> None:
    key = PrivateKey.generate(kind).public
    name = IpnsName.of_key(key)
    assert IpnsName.parse(name.cid.encode(base)) == name
    assert name.cid.codec == LIBP2P_KEY
    inlined = kind in (KeyType.ED25519, KeyType.SECP256K1)
    assert name.inlined_key() == (key if inlined else None)


def test_dag_pb_is_taken_for_libp2p_key() -> None:
    name = IpnsName.parse(PAIRS[1][0])
    assert IpnsName.parse(str(Cid.decode(b"\x01\x70" + name.multihash))) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com",
        "localhost",
        "k51",
        "Qm",
        "1",
        "12D3KooW0OIl",
        "k" * (MAX_TEXT + 1),
        "bafkqaaa",  # raw
        "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am",  # raw, SHA-256
        str(Cid.decode(bytes([1, LIBP2P_KEY, 0, 0]))),  # no key
        str(Cid.decode(bytes([1, LIBP2P_KEY, 0, 43, *bytes(43)]))),  # too long to be inlined
        str(Cid.of(b"x", LIBP2P_KEY, hash="sha2-512")),
        "ünïcode",
        "\0",
    ],
)
def test_what_is_no_name_says_so(text: str) -> None:
    with pytest.raises(InvalidName, match="IPNS name"):
        IpnsName.parse(text)


@given(
    st.text(max_size=80) | st.text("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", max_size=60)
)
def test_any_text_is_a_name_or_a_clear_error(text: str) -> None:
    for form in (text, "Qm" + text, "1" + text, "k" + text):
        try:
            name = IpnsName.parse(form)
        except InvalidName:
            continue
        assert IpnsName.parse(str(name)) == name


@given(st.binary(max_size=60))
def test_any_bytes_are_a_name_or_a_clear_error(raw: bytes) -> None:
    with contextlib.suppress(InvalidName):
        assert IpnsName.of_bytes(raw).multihash == raw
