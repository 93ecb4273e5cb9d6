"""Cid: a small immutable value over the bytes of a CID, and the names of codecs, hashes and bases."""

from __future__ import annotations

from functools import lru_cache
from typing import NoReturn

from libipld import decode_multibase, encode_multibase
from multiformats import multibase, multicodec

from ipld import hashes, varint
from ipld.errors import InvalidCid, UnsupportedHash

CBOR = 0x51
RAW = 0x55
DAG_PB = 0x70
DAG_CBOR = 0x71
LIBP2P_KEY = 0x72
DAG_JSON = 0x0129
JSON = 0x0200

# The longest CID we read (identity, 128 bytes) takes 265 characters in base16; decoding base58
# and base36 is quadratic, so longer text is not looked at.
MAX_TEXT = 512
MAX_BYTES = 4 * varint.MAX_BYTES + hashes.MAX_DIGEST_BYTES

_SHA2_256 = b"\x12\x20"
_V0_BYTES = 34
_V1_BYTES = 36
# The CIDs that nearly every link is: checked by their first four bytes and length alone.
_COMMON = frozenset(bytes([1, codec]) + _SHA2_256 for codec in (CBOR, RAW, DAG_PB, DAG_CBOR))


class Cid:
    """Equal when the bytes are equal: the same content under CIDv0 and CIDv1 is two Cids.

    Made by `parse`, `decode`, `read` and `of`, never by `Cid()`: the bytes are always valid.
    """

    __slots__ = ("raw",)

    raw: bytes

    @classmethod
    def parse(cls, text: str) -> Cid:
        """The CID that a text means, in any multibase that libipld reads; else InvalidCid."""
        if len(text) > MAX_TEXT:
            raise InvalidCid(f"a CID has at most {MAX_TEXT} characters")
        is_v0 = len(text) == 46 and text[:2] == "Qm"
        try:
            raw = decode_multibase("z" + text if is_v0 else text)[1]
        except ValueError as error:
            raise InvalidCid(f"not a CID: {text!r}") from error
        cid = cls.decode(raw)
        # CID spec, decoding: text in a multibase is never version 0.
        if not is_v0 and cid.version == 0:
            raise InvalidCid("CIDv0 has no multibase prefix")
        return cid

    @classmethod
    def decode(cls, raw: bytes) -> Cid:
        """The CID of exactly these bytes; else InvalidCid."""
        if (len(raw) == _V1_BYTES and raw[:4] in _COMMON) or (len(raw) == _V0_BYTES and raw[:2] == _SHA2_256):
            return trusted(raw)
        cid, end = cls.read(raw, 0)
        if end != len(raw):
            raise InvalidCid(f"{len(raw) - end} bytes too many after the CID")
        return cid

    @classmethod
    def read(cls, buffer: bytes | bytearray | memoryview, offset: int = 0) -> tuple[Cid, int]:
        """The CID that begins at `offset`, and where it ends (CAR sections)."""
        head = bytes(buffer[offset : offset + MAX_BYTES])
        end = _V0_BYTES if head[:2] == _SHA2_256 else _V1_BYTES
        if end == _V1_BYTES and head[:4] not in _COMMON:
            end = _end_of_v1(head)
        if end > len(head):
            raise InvalidCid("CID is cut off")
        return trusted(head[:end]), offset + end

    @classmethod
    def of(cls, data: hashes.Buffer, codec: int = RAW, version: int = 1, hash: str = "sha2-256") -> Cid:
        """The CID of a block with these bytes."""
        code = hash_code(hash)
        return cls.of_digest(hashes.digest(code, data), codec, version, code)

    @classmethod
    def of_digest(cls, digest: bytes, codec: int = RAW, version: int = 1, code: int = hashes.SHA2_256) -> Cid:
        multihash = varint.encode(code) + varint.encode(len(digest)) + digest
        if version == 0:
            if codec != DAG_PB or multihash[:2] != _SHA2_256:
                raise InvalidCid("CIDv0 is dag-pb under sha2-256 only")
            return cls.decode(multihash)
        return cls.decode(b"\x01" + varint.encode(codec) + multihash)

    @property
    def version(self) -> int:
        return 0 if self.raw[0] == 0x12 else 1

    @property
    def codec(self) -> int:
        raw = self.raw
        if raw[0] == 0x12:
            return DAG_PB
        return raw[1] if raw[1] < 0x80 else varint.read(raw, 1, len(raw))[0]

    @property
    def multihash(self) -> bytes:
        """Function, length and digest: what a block is found, denied and counted by."""
        raw = self.raw
        if raw[0] == 0x12:
            return raw
        at = 1
        while raw[at] >= 0x80:
            at += 1
        return raw[at + 1 :]

    @property
    def hash_code(self) -> int:
        multihash = self.multihash
        return multihash[0] if multihash[0] < 0x80 else varint.read(multihash, 0, len(multihash))[0]

    @property
    def digest(self) -> bytes:
        multihash = self.multihash
        if multihash[0] < 0x80 and multihash[1] < 0x80:
            return multihash[2:]
        at = varint.read(multihash, 0, len(multihash))[1]
        return multihash[varint.read(multihash, at, len(multihash))[1] :]

    @property
    def is_identity(self) -> bool:
        """Whether the data lies in the CID itself (`digest`) and no block is stored."""
        return self.raw[0] == 1 and self.hash_code == hashes.IDENTITY

    def to_v1(self) -> Cid:
        return self if self.version else trusted(b"\x01\x70" + self.raw)

    def encode(self, base: str) -> str:
        """The text in a named multibase; CIDv0 has base58btc only and becomes CIDv1 for others."""
        if self.version == 0 and base == "base58btc":
            return str(self)
        try:
            return encode_multibase(_base_code(base), self.to_v1().raw)
        except ValueError as error:
            raise InvalidCid(f"multibase {base!r} is not supported") from error

    def __str__(self) -> str:
        raw = self.raw
        return encode_multibase("z", raw)[1:] if raw[0] == 0x12 else encode_multibase("b", raw)

    def __repr__(self) -> str:
        return f"Cid({self})"

    def __eq__(self, other: object) -> bool:
        return self.raw == other.raw if isinstance(other, Cid) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.raw)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Cid never changes")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a Cid never changes")

    def __reduce__(self) -> tuple[object, tuple[bytes]]:
        return trusted, (self.raw,)


_new = object.__new__
_set = object.__setattr__


def trusted(raw: bytes) -> Cid:
    """The Cid over bytes that the caller has checked: for decoders."""
    cid = _new(Cid)
    _set(cid, "raw", raw)
    return cid


def _end_of_v1(head: bytes) -> int:
    """Where the CIDv1 at the start ends: version, codec and multihash, each checked."""
    try:
        version, at = varint.read(head, 0, len(head))
        if version != 1:
            raise InvalidCid(f"CID version {version} is not known")
        _, at = varint.read(head, at, len(head))
        code, at = varint.read(head, at, len(head))
        size, at = varint.read(head, at, len(head))
    except varint.InvalidVarint as error:
        raise InvalidCid(f"not a CID: {error}") from error
    if size > hashes.MAX_DIGEST_BYTES or hashes.digest_size(code) not in (None, size):
        raise InvalidCid(f"digest of {size} bytes under hash function 0x{code:x}")
    return at + size


@lru_cache(maxsize=64)
def _base_code(base: str) -> str:
    try:
        return multibase.get(base).code
    except KeyError as error:
        raise InvalidCid(f"multibase {base!r} is not known") from error


@lru_cache(maxsize=256)
def codec_name(code: int) -> str:
    """The name in the multicodec table (`dag-pb`); `0x…` where it has none."""
    try:
        return multicodec.get(code=code).name
    except KeyError:
        return f"0x{code:x}"


@lru_cache(maxsize=256)
def codec_code(name: str) -> int:
    """The code of a codec or hash name; InvalidCid where the table has none."""
    try:
        return multicodec.get(name).code
    except KeyError as error:
        raise InvalidCid(f"multicodec {name!r} is not known") from error


@lru_cache(maxsize=64)
def hash_code(name: str) -> int:
    try:
        return codec_code(name)
    except InvalidCid as error:
        raise UnsupportedHash(f"hash function {name!r} is not known") from error


hash_name = codec_name
