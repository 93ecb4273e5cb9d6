"""Keys as libp2p writes them: what IPNS names are made of, and what signs their records.

libp2p specs, "Peer Ids and Keys". Ed25519, RSA, Secp256k1 and ECDSA are read; Ed25519 is what we make.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from ipld import hashes, protobuf, varint
from ipld.errors import InvalidKey

# An RSA key of 8192 bits takes 1,064 bytes, its private half 4,700.
MAX_PUBLIC_BYTES = 2048
MAX_PRIVATE_BYTES = 8192
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
# Public exponents are small everywhere; a large one makes checking a signature slow.
MAX_RSA_EXPONENT = 2**32 - 1
# A serialised key up to this size lies in the name itself; of longer ones it holds the hash.
MAX_INLINED_BYTES = 42

_PublicHandle: TypeAlias = Ed25519PublicKey | rsa.RSAPublicKey | ec.EllipticCurvePublicKey
_PrivateHandle: TypeAlias = Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_DER = serialization.Encoding.DER
_PLAIN = serialization.NoEncryption()


class KeyType(IntEnum):
    """The kinds of keys, by their number in protobuf."""

    RSA = 0
    ED25519 = 1
    SECP256K1 = 2
    ECDSA = 3


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that was looked at: `decode` and `PrivateKey.public` make it."""

    type: KeyType
    data: bytes

    @classmethod
    def decode(cls, raw: bytes) -> PublicKey:
        """The key in a protobuf PublicKey; else InvalidKey."""
        kind, data = _unwrap(raw, MAX_PUBLIC_BYTES)
        key = cls(kind, data)
        # The name is a hash of these bytes: there must be one way only to write a key.
        if key.encode() != raw:
            raise InvalidKey("the public key is not in its canonical form")
        _load_public(kind, data)
        return key

    def encode(self) -> bytes:
        """The protobuf PublicKey."""
        return _wrap(self.type, self.data)

    @property
    def multihash(self) -> bytes:
        """The peer id: the key itself where it is short, its SHA-256 else."""
        raw = self.encode()
        code = hashes.IDENTITY if len(raw) <= MAX_INLINED_BYTES else hashes.SHA2_256
        digest = hashes.digest(code, raw)
        return varint.encode(code) + varint.encode(len(digest)) + digest

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether this key's other half signed the message."""
        handle = _load_public(self.type, self.data)
        try:
            if isinstance(handle, Ed25519PublicKey):
                handle.verify(signature, message)
            elif isinstance(handle, rsa.RSAPublicKey):
                handle.verify(signature, message, padding.PKCS1v15(), SHA256())
            else:
                handle.verify(signature, message, ec.ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key that signs. Its `repr` shows nothing of it."""

    type: KeyType
    _handle: _PrivateHandle

    @classmethod
    def generate(cls, type: KeyType = KeyType.ED25519) -> PrivateKey:
        """A new random key."""
        return cls(type, _GENERATE[type]())

    @classmethod
    def decode(cls, raw: bytes) -> PrivateKey:
        """The key in a protobuf PrivateKey (what `ipfs key export` writes); else InvalidKey."""
        kind, data = _unwrap(raw, MAX_PRIVATE_BYTES)
        try:
            key = cls(kind, _LOAD_PRIVATE[kind](data))
            _load_public(kind, key.public.data)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise InvalidKey(f"not a private key of type {kind.name}: {error}") from error
        return key

    def encode(self) -> bytes:
        """The protobuf PrivateKey."""
        return _wrap(self.type, _private_data(self.type, self._handle))

    @property
    def public(self) -> PublicKey:
        """The half that everybody may know."""
        return PublicKey(self.type, _public_data(self.type, self._handle.public_key()))

    def sign(self, message: bytes) -> bytes:
        """As PeerID specs, "Key Types", say for each type."""
        if isinstance(self._handle, Ed25519PrivateKey):
            return self._handle.sign(message)
        if isinstance(self._handle, rsa.RSAPrivateKey):
            return self._handle.sign(message, padding.PKCS1v15(), SHA256())
        return self._handle.sign(message, ec.ECDSA(SHA256()))

    def __repr__(self) -> str:
        return f"PrivateKey({self.type.name})"


_GENERATE: Mapping[KeyType, Callable[[], _PrivateHandle]] = {
    KeyType.ED25519: Ed25519PrivateKey.generate,
    KeyType.RSA: lambda: rsa.generate_private_key(65537, MIN_RSA_BITS),
    KeyType.SECP256K1: lambda: ec.generate_private_key(ec.SECP256K1()),
    KeyType.ECDSA: lambda: ec.generate_private_key(ec.SECP256R1()),
}


def _wrap(kind: KeyType, data: bytes) -> bytes:
    return protobuf.write([(1, int(kind)), (2, data)])


def _unwrap(raw: bytes, max_bytes: int) -> tuple[KeyType, bytes]:
    if len(raw) > max_bytes:
        raise InvalidKey(f"a key has at most {max_bytes} bytes")
    try:
        fields = protobuf.read(raw)
    except protobuf.InvalidProtobuf as error:
        raise InvalidKey(f"the key is no protobuf: {error}") from error
    kind, data = fields.get(1), fields.get(2)
    if not isinstance(kind, int) or kind > max(KeyType) or not isinstance(data, bytes):
        raise InvalidKey("the key has no type that is known, or no data")
    return KeyType(kind), data


def _load_public(kind: KeyType, data: bytes) -> _PublicHandle:
    try:
        handle = _LOAD_PUBLIC[kind](data)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidKey(f"not a public key of type {kind.name}: {error}") from error
    return handle


def _load_rsa(data: bytes) -> rsa.RSAPublicKey:
    handle = serialization.load_der_public_key(data)
    if not isinstance(handle, rsa.RSAPublicKey):
        raise InvalidKey("the key says RSA and is another")
    if not MIN_RSA_BITS <= handle.key_size <= MAX_RSA_BITS:
        raise InvalidKey(f"an RSA key has {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, not {handle.key_size}")
    if handle.public_numbers().e > MAX_RSA_EXPONENT:
        raise InvalidKey("the exponent of the RSA key is over 32 bits")
    return handle


def _load_secp256k1(data: bytes) -> ec.EllipticCurvePublicKey:
    # Compressed, 33 bytes: the other form would give the same key a second name.
    if len(data) != 33:
        raise InvalidKey("a Secp256k1 key has 33 bytes")
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), data)


def _load_ecdsa(data: bytes) -> ec.EllipticCurvePublicKey:
    handle = serialization.load_der_public_key(data)
    if not isinstance(handle, ec.EllipticCurvePublicKey) or not isinstance(handle.curve, _CURVES):
        raise InvalidKey("the key says ECDSA and is not on one of the curves P-256, P-384 and P-521")
    return handle


_LOAD_PUBLIC: Mapping[KeyType, Callable[[bytes], _PublicHandle]] = {
    KeyType.ED25519: Ed25519PublicKey.from_public_bytes,
    KeyType.RSA: _load_rsa,
    KeyType.SECP256K1: _load_secp256k1,
    KeyType.ECDSA: _load_ecdsa,
}


def _private_ed25519(data: bytes) -> Ed25519PrivateKey:
    # Seed and public key; writers of old append the latter once more.
    if len(data) not in (64, 96) or data[32:64] != data[-32:]:
        raise InvalidKey("an Ed25519 key has 64 bytes")
    handle = Ed25519PrivateKey.from_private_bytes(data[:32])
    if handle.public_key().public_bytes_raw() != data[32:64]:
        raise InvalidKey("the halves of the Ed25519 key do not belong together")
    return handle


def _private_rsa(data: bytes) -> rsa.RSAPrivateKey:
    handle = serialization.load_der_private_key(data, None)
    if not isinstance(handle, rsa.RSAPrivateKey):
        raise InvalidKey("the key says RSA and is another")
    return handle


def _private_secp256k1(data: bytes) -> ec.EllipticCurvePrivateKey:
    if len(data) != 32:
        raise InvalidKey("a private Secp256k1 key has 32 bytes")
    return ec.derive_private_key(int.from_bytes(data, "big"), ec.SECP256K1())


def _private_ecdsa(data: bytes) -> ec.EllipticCurvePrivateKey:
    handle = serialization.load_der_private_key(data, None)
    if not isinstance(handle, ec.EllipticCurvePrivateKey):
        raise InvalidKey("the key says ECDSA and is another")
    return handle


_LOAD_PRIVATE: Mapping[KeyType, Callable[[bytes], _PrivateHandle]] = {
    KeyType.ED25519: _private_ed25519,
    KeyType.RSA: _private_rsa,
    KeyType.SECP256K1: _private_secp256k1,
    KeyType.ECDSA: _private_ecdsa,
}


def _public_data(kind: KeyType, handle: _PublicHandle) -> bytes:
    if isinstance(handle, Ed25519PublicKey):
        return handle.public_bytes_raw()
    if kind is KeyType.SECP256K1:
        point = serialization.PublicFormat.CompressedPoint
        return handle.public_bytes(serialization.Encoding.X962, point)
    return handle.public_bytes(_DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _private_data(kind: KeyType, handle: _PrivateHandle) -> bytes:
    if isinstance(handle, Ed25519PrivateKey):
        return handle.private_bytes_raw() + handle.public_key().public_bytes_raw()
    if kind is KeyType.SECP256K1 and isinstance(handle, ec.EllipticCurvePrivateKey):
        return handle.private_numbers().private_value.to_bytes(32, "big")
    # PKCS #1 of an RSA key, SEC 1 of the others.
    return handle.private_bytes(_DER, serialization.PrivateFormat.TraditionalOpenSSL, _PLAIN)
