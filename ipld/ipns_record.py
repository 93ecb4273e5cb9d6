"""IPNS records: decoding, checking, comparing and making them (specs.ipfs.tech/ipns/ipns-record)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

from ipld import dag_cbor, protobuf, rfc3339
from ipld.cid import Cid
from ipld.data_model import Value
from ipld.errors import (
    ExpiredRecord,
    InvalidCid,
    InvalidKey,
    InvalidPath,
    InvalidRecord,
    MalformedBlock,
)
from ipld.ipns_name import IpnsName
from ipld.libp2p_keys import PrivateKey, PublicKey
from ipld.paths import ContentPath

T = TypeVar("T", int, bytes)

# "Record Size Limit"
MAX_BYTES = 10 * 1024
MEDIA_TYPE = "application/vnd.ipfs.ipns-record"
# "Record Creation", step 5.
_PREFIX = b"ipns-signature:"
# Of the legacy signature: how Go prints the validity type 0, which is what everybody signs.
_EOL_NAME = b"EOL"
MAX_SEQUENCE = _MAX_UINT64 = (1 << 64) - 1
# The record that says nothing, as publishers write it who only want the extensible data.
_NOTHING = "/ipfs/bafkqaaa"

_VALUE, _SIGNATURE_V1, _VALIDITY_TYPE, _VALIDITY, _SEQUENCE, _TTL, _PUBLIC_KEY, _SIGNATURE, _DATA = range(
    1, 10
)


@dataclass(frozen=True, slots=True)
class IpnsRecord:
    """A record that decodes; whose it is only `verify` tells.

    `eol` is in nanoseconds since 1970, `ttl` in nanoseconds, None where the record has none. `data`
    is what `signature` signs; `public_key` is the protobuf PublicKey where the record carries one.
    """

    raw: bytes
    value: bytes
    sequence: int
    eol: int
    ttl: int | None
    data: bytes
    signature: bytes
    public_key: bytes | None = None

    @classmethod
    def decode(cls, raw: bytes) -> IpnsRecord:
        """Everything of "Record Verification" that needs no name and no clock; else InvalidRecord."""
        if len(raw) > MAX_BYTES:
            raise InvalidRecord(f"the IPNS record has {len(raw)} bytes, and {MAX_BYTES} are allowed")
        try:
            fields = protobuf.read(raw)
        except protobuf.InvalidProtobuf as error:
            raise InvalidRecord(f"the IPNS record is no protobuf: {error}") from error
        return _decode(raw, fields)

    def verify(self, name: IpnsName, now: float) -> None:
        """Raise InvalidRecord unless the owner of the name made the record, ExpiredRecord where it has
        ended at `now`, in seconds since 1970."""
        try:
            key = self._key_of(name)
            genuine = key.verify(self.signature, _PREFIX + self.data)
        except InvalidKey as error:
            raise InvalidRecord(f"the IPNS record of {name} has no key that counts: {error}") from error
        if not genuine:
            raise InvalidRecord(f"the IPNS record of {name} is not signed by the key of that name")
        if self.has_ended(now):
            end = rfc3339.write(self.eol).decode()
            raise ExpiredRecord(f"the IPNS record of {name} expired at {end}; its owner must publish it anew")

    def _key_of(self, name: IpnsName) -> PublicKey:
        if self.public_key is None:
            key = name.inlined_key()
            if key is None:
                raise InvalidKey("neither the name nor the record holds the public key")
            return key
        key = PublicKey.decode(self.public_key)
        if IpnsName.of_key(key) != name:
            raise InvalidKey("the public key in the record is that of another name")
        return key

    def has_ended(self, now: float) -> bool:
        """Whether it is past its validity at `now`, in seconds since 1970."""
        return self.eol <= int(now * rfc3339.SECOND)

    @property
    def order(self) -> tuple[int, int, bytes]:
        """Of two records of a name the greater one is the newer: by sequence, by end, then by bytes."""
        return self.sequence, self.eol, self.raw

    @property
    def expires(self) -> float:
        """The end in seconds since 1970."""
        return self.eol / rfc3339.SECOND

    @property
    def ttl_seconds(self) -> int | None:
        return None if self.ttl is None else self.ttl // rfc3339.SECOND

    def path(self) -> ContentPath:
        """Where the record points; InvalidRecord where that is no content path."""
        return path_of(self.value)

    @property
    def etag(self) -> str:
        """A strong entity tag, with its quotes."""
        return f'"{Cid.of(self.raw)}.ipns-record"'


def path_of(value: bytes) -> ContentPath:
    """The path that a value means; the bytes of a CID stand for its `/ipfs/` path."""
    try:
        if value.startswith(b"/"):
            # A value is no URL: a percent sign in it is one.
            return ContentPath.parse(quote(value.decode(), safe="/"))
        return ContentPath.parse(f"/ipfs/{Cid.decode(value)}" if value else _NOTHING)
    except (InvalidPath, InvalidCid, UnicodeDecodeError) as error:
        raise InvalidRecord(f"the IPNS record points to no content path: {error}") from error


def make_record(
    key: PrivateKey, value: bytes, *, sequence: int, eol: int, ttl: int, legacy: bool = True
) -> IpnsRecord:
    """A signed record; `eol` and `ttl` in nanoseconds. `legacy` adds what readers of before 2021 need.

    Raises InvalidRecord where no reader would take it.
    """
    validity = _written(eol)
    document: dict[str, Value] = {
        "TTL": ttl,
        "Value": value,
        "Sequence": sequence,
        "Validity": validity,
        "ValidityType": 0,
    }
    data = dag_cbor.encode(document)
    old: list[tuple[int, protobuf.Field | None]] = []
    if legacy:
        signature_v1 = key.sign(value + validity + _EOL_NAME)
        old = [(_VALUE, value), (_SIGNATURE_V1, signature_v1), (_VALIDITY_TYPE, 0)]
        old += [(_VALIDITY, validity), (_SEQUENCE, sequence), (_TTL, ttl)]
    public = key.public
    inlined = IpnsName.of_key(public).inlined_key() is not None
    embedded = None if inlined else public.encode()
    new = [(_PUBLIC_KEY, embedded), (_SIGNATURE, key.sign(_PREFIX + data)), (_DATA, data)]
    return IpnsRecord.decode(protobuf.write([*old, *new]))


def _written(eol: int) -> bytes:
    try:
        return rfc3339.write(eol)
    except ValueError as error:
        raise InvalidRecord(str(error)) from error


def _decode(raw: bytes, fields: dict[int, protobuf.Field]) -> IpnsRecord:
    data, signature = fields.get(_DATA), fields.get(_SIGNATURE)
    if not isinstance(signature, bytes) or not signature or not isinstance(data, bytes) or not data:
        raise InvalidRecord("the IPNS record has no V2 signature, and V1 alone proves nothing")
    public_key = fields.get(_PUBLIC_KEY)
    if not isinstance(public_key, bytes | None):
        raise InvalidRecord("the public key in the IPNS record is a number")
    document = _document(data)
    validity = _required(document, "Validity", bytes)
    if _number(document, "ValidityType"):
        raise InvalidRecord("the IPNS record has a validity of an unknown type")
    record = IpnsRecord(
        raw=raw,
        value=_required(document, "Value", bytes),
        sequence=_number(document, "Sequence"),
        eol=_end(validity),
        ttl=_number(document, "TTL") if "TTL" in document else None,
        data=data,
        signature=signature,
        public_key=public_key or None,
    )
    if fields.get(_SIGNATURE_V1) or fields.get(_VALUE):
        _compare(fields, record, validity)
    return record


def _compare(fields: dict[int, protobuf.Field], record: IpnsRecord, validity: bytes) -> None:
    """ "Record Verification", step 7: what old readers see is what was signed."""
    pairs: list[tuple[str, protobuf.Field, protobuf.Field]] = [
        ("Value", fields.get(_VALUE, b""), record.value),
        ("Validity", fields.get(_VALIDITY, b""), validity),
        ("ValidityType", fields.get(_VALIDITY_TYPE, 0), 0),
        ("Sequence", fields.get(_SEQUENCE, 0), record.sequence),
        ("TTL", fields.get(_TTL, 0), record.ttl or 0),
    ]
    for field, legacy, signed in pairs:
        if legacy != signed:
            raise InvalidRecord(f"the IPNS record says two things: {field} differs between V1 and V2")


def _document(data: bytes) -> dict[str, Value]:
    try:
        document = dag_cbor.decode(data)
    except MalformedBlock as error:
        raise InvalidRecord(f"the data of the IPNS record: {error}") from error
    if not isinstance(document, dict):
        raise InvalidRecord("the data of the IPNS record is no map")
    return document


def _required(document: dict[str, Value], field: str, kind: type[T]) -> T:
    value = document.get(field)
    # `True` is an int to Python.
    if type(value) is not kind:
        raise InvalidRecord(f"the data of the IPNS record has no {field} of the right kind")
    return value


def _number(document: dict[str, Value], field: str) -> int:
    value = _required(document, field, int)
    if not 0 <= value <= _MAX_UINT64:
        raise InvalidRecord(f"{field} of the IPNS record is no unsigned 64-bit number")
    return value


def _end(validity: bytes) -> int:
    try:
        return rfc3339.parse(validity)
    except ValueError as error:
        raise InvalidRecord(f"the validity of the IPNS record: {error}") from error
