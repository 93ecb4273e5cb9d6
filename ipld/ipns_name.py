"""IPNS names: the hash of a public key, or the key itself, in each form that it is written in."""

from __future__ import annotations

from dataclasses import dataclass

from libipld import decode_multibase

from ipld import hashes
from ipld.cid import DAG_PB, LIBP2P_KEY, Cid
from ipld.errors import InvalidCid, InvalidName
from ipld.libp2p_keys import MAX_INLINED_BYTES, PublicKey

# The longest form of the longest name (a key of 42 bytes, in base2) is not worth more.
MAX_TEXT = 512
_SHA2_256_BYTES = 32


@dataclass(frozen=True, slots=True)
class IpnsName:
    """Equal however it was written. `multihash` is that of the public key, or holds it."""

    multihash: bytes

    @classmethod
    def parse(cls, text: str) -> IpnsName:
        """The name in a text; else InvalidName.

        A CIDv1 of codec libp2p-key in any multibase, or a bare multihash in base58btc (`12D3Koo…`,
        `Qm…`; PeerID specs, "Decoding"). dag-pb is taken for libp2p-key: that is what old tools wrote,
        and the subdomain gateway spec has such names redirected.
        """
        try:
            return cls._of(_cid(text))
        except InvalidCid as error:
            raise InvalidName(f"not an IPNS name: {error}") from error

    @classmethod
    def of_key(cls, key: PublicKey) -> IpnsName:
        """The name that belongs to a key."""
        return cls(key.multihash)

    @classmethod
    def of_bytes(cls, multihash: bytes) -> IpnsName:
        """From the multihash that `multihash` gives; else InvalidName."""
        try:
            return cls._of(Cid.decode(_V1_PREFIX + multihash))
        except InvalidCid as error:
            raise InvalidName(f"not an IPNS name: {error}") from error

    @classmethod
    def _of(cls, cid: Cid) -> IpnsName:
        code, size = cid.hash_code, len(cid.digest)
        inlined = code == hashes.IDENTITY and 0 < size <= MAX_INLINED_BYTES
        if not inlined and not (code == hashes.SHA2_256 and size == _SHA2_256_BYTES):
            raise InvalidName("not an IPNS name: it holds neither a short key nor a SHA-256 of one")
        return cls(cid.multihash)

    @property
    def cid(self) -> Cid:
        """The name as a CIDv1 of codec libp2p-key."""
        return Cid.decode(_V1_PREFIX + self.multihash)

    def inlined_key(self) -> PublicKey | None:
        """The key in the name; None where the name has its hash only. Raises InvalidKey."""
        cid = self.cid
        return PublicKey.decode(cid.digest) if cid.is_identity else None

    def __str__(self) -> str:
        """The canonical form, base36: it fits in one label of a host name."""
        return self.cid.encode("base36")


_V1_PREFIX = bytes([1, LIBP2P_KEY])


def is_bare_multihash(text: str) -> bool:
    """Whether a text is of the form that has no codec: a peer id in base58btc."""
    return text.startswith(("Qm", "1"))


def _cid(text: str) -> Cid:
    if not 0 < len(text) <= MAX_TEXT:
        raise InvalidName(f"an IPNS name has 1 to {MAX_TEXT} characters")
    if is_bare_multihash(text):
        return Cid.decode(_V1_PREFIX + _base58(text))
    cid = Cid.parse(text)
    if cid.codec not in (LIBP2P_KEY, DAG_PB):
        raise InvalidName("not an IPNS name: it is a CID of another codec than libp2p-key")
    return cid


def _base58(text: str) -> bytes:
    try:
        return decode_multibase("z" + text)[1]
    except ValueError as error:
        raise InvalidCid(f"not in base58btc: {text!r}") from error
