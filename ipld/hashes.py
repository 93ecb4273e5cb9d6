"""The hash functions behind multihashes: those that Kubo lets a block be read by."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from blake3 import blake3

from ipld.errors import BlockCorrupt, UnsupportedHash

if TYPE_CHECKING:
    from ipld.cid import Cid

Buffer = bytes | bytearray | memoryview

IDENTITY = 0x00
SHA1 = 0x11
SHA2_256 = 0x12
SHA2_512 = 0x13
BLAKE3 = 0x1E
DBL_SHA2_256 = 0x56
BLAKE2B_8 = 0xB201
BLAKE2S_256 = 0xB260

# boxo/verifcid: shorter digests can be collided, longer ones smuggle data.
MIN_DIGEST_BYTES = 20
MAX_DIGEST_BYTES = 128


def _sha1(data: Buffer, size: int) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def _sha2_256(data: Buffer, size: int) -> bytes:
    return hashlib.sha256(data).digest()


def _dbl_sha2_256(data: Buffer, size: int) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def _blake2b(data: Buffer, size: int) -> bytes:
    return hashlib.blake2b(data, digest_size=size).digest()


def _blake2s(data: Buffer, size: int) -> bytes:
    return hashlib.blake2s(data).digest()


def _blake3(data: Buffer, size: int) -> bytes:
    return blake3(data).digest(length=size)


# Fixed digest sizes by multihash code; blake3 takes the size that the multihash states.
_SIZES = {SHA1: 20, SHA2_256: 32, SHA2_512: 64, 0x14: 64, 0x15: 48, 0x16: 32, 0x17: 28, DBL_SHA2_256: 32}
_SIZES |= {BLAKE2B_8 + size - 1: size for size in range(1, 65)}
_SIZES |= {BLAKE2S_256: 32}

_FUNCTIONS: dict[int, Callable[[Buffer, int], bytes]] = {
    SHA1: _sha1,
    SHA2_256: _sha2_256,
    SHA2_512: lambda data, size: hashlib.sha512(data).digest(),
    0x14: lambda data, size: hashlib.sha3_512(data).digest(),
    0x15: lambda data, size: hashlib.sha3_384(data).digest(),
    0x16: lambda data, size: hashlib.sha3_256(data).digest(),
    0x17: lambda data, size: hashlib.sha3_224(data).digest(),
    BLAKE3: _blake3,
    DBL_SHA2_256: _dbl_sha2_256,
    BLAKE2S_256: _blake2s,
}
_FUNCTIONS |= {BLAKE2B_8 + size - 1: _blake2b for size in range(MIN_DIGEST_BYTES, 65)}


def digest_size(code: int) -> int | None:
    """The one digest length that the function has; None where it has several or is unknown."""
    return _SIZES.get(code)


def digest(code: int, data: Buffer, size: int | None = None) -> bytes:
    """The digest under a multihash code; `size` counts for functions that have several."""
    if code == IDENTITY:
        return bytes(data)
    function = _FUNCTIONS.get(code)
    if function is None:
        raise UnsupportedHash(f"hash function 0x{code:x} cannot be checked")
    return function(data, size or _SIZES.get(code, 32))


def verify(cid: Cid, data: Buffer) -> None:
    """Raise BlockCorrupt unless the bytes hash to the CID, UnsupportedHash where we cannot tell."""
    raw = cid.raw
    if cid.version == 0:
        expected, found = raw[2:], hashlib.sha256(data).digest()
    else:
        expected = cid.digest
        if cid.hash_code != IDENTITY and len(expected) < MIN_DIGEST_BYTES:
            raise UnsupportedHash(f"digest of {len(expected)} bytes is too short to trust")
        found = digest(cid.hash_code, data, len(expected))
    if expected != found:
        raise BlockCorrupt(f"the bytes do not hash to {cid}")
