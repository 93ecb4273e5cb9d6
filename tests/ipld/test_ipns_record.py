"""IPNS records against the vectors of the specification, and against forgers."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipld import dag_cbor, protobuf
from ipld.data_model import Value
from ipld.errors import ExpiredRecord, InvalidRecord
from ipld.ipns_name import IpnsName
from ipld.ipns_record import MAX_BYTES, IpnsRecord, make_record
from ipld.libp2p_keys import KeyType, PrivateKey
from ipld.rfc3339 import SECOND, write
from tests.fixture_data import fixture_files

KEY = PrivateKey.generate()
NAME = IpnsName.of_key(KEY.public)
NOW = 1_800_000_000.0
EOL = int(NOW + 3600) * SECOND
VALUE = b"/ipfs/bafkqaddwgevxmmraojswg33smq"

RECORDS = {path.name.split("_", 1)[-1]: path for path in fixture_files("gateway-conformance/ipns_records/*")}


def made(
    key: PrivateKey = KEY,
    value: bytes = VALUE,
    *,
    sequence: int = 0,
    eol: int = EOL,
    ttl: int = 60 * SECOND,
    legacy: bool = True,
) -> IpnsRecord:
    return make_record(key, value, sequence=sequence, eol=eol, ttl=ttl, legacy=legacy)


def signed(**changed: Value) -> bytes:
    """A record of NAME with these fields in its data, whatever they are; None leaves one out."""
    document: dict[str, Value] = {
        "TTL": 60 * SECOND,
        "Value": VALUE,
        "Sequence": 0,
        "Validity": write(EOL),
        "ValidityType": 0,
        **changed,
    }
    data = dag_cbor.encode({field: value for field, value in document.items() if value is not None})
    return protobuf.write([(8, KEY.sign(b"ipns-signature:" + data)), (9, data)])


def with_fields(record: IpnsRecord, **changed: protobuf.Field | None) -> bytes:
    """The record with other protobuf fields, by their number after an underscore."""
    fields = protobuf.read(record.raw) | {int(name[1:]): value for name, value in changed.items()}  # type: ignore[operator]
    return protobuf.write(sorted(fields.items()))


@pytest.mark.needs_fixtures
@pytest.mark.skipif(not RECORDS, reason="shared fixtures are not here (set CIDGATE_FIXTURES)")
class TestVectors:
    """Of the specification, "Test Vectors"."""

    def check(self, file: str) -> IpnsRecord:
        path = RECORDS[f"{file}.ipns-record"]
        record = IpnsRecord.decode(path.read_bytes())
        record.verify(IpnsName.parse(path.name.split("_")[0]), time.time())
        return record

    @pytest.mark.parametrize(
        ("file", "value"),
        [
            ("v1-v2", "/ipfs/bafkqaddwgevxmmraojswg33smq"),
            ("v1-v2-broken-signature-v1", "/ipfs/bafkqahtwgevxmmrao5uxi2bamjzg623fnyqhg2lhnzqxi5lsmuqhmmi"),
            ("v2", "/ipfs/bafkqadtwgiww63tmpeqhezldn5zgi"),
        ],
    )
    def test_sound_ones(self, file: str, value: str) -> None:
        record = self.check(file)
        assert str(record.path()) == value
        assert record.ttl_seconds == 1800
        assert record.sequence == 0

    @pytest.mark.parametrize(
        ("file", "reason"),
        [
            ("v1", "no V2 signature"),
            ("v1-v2-broken-v1-value", "Value differs"),
            ("v1-v2-broken-signature-v2", "not signed by the key"),
        ],
    )
    def test_broken_ones(self, file: str, reason: str) -> None:
        with pytest.raises(InvalidRecord, match=reason):
            self.check(file)

    @pytest.mark.parametrize(
        "path", fixture_files("gateway-conformance/*/*.ipns-record"), ids=lambda path: path.name[:24]
    )
    def test_fields_are_written_as_others_write_them(self, path: object) -> None:
        raw = path.read_bytes()  # type: ignore[attr-defined]
        assert protobuf.write(sorted(protobuf.read(raw).items())) == raw

    def test_a_key_that_the_name_only_hashes(self) -> None:
        (path,) = fixture_files("gateway-conformance/subdomain_gateway/Qm*.ipns-record")
        record = IpnsRecord.decode(path.read_bytes())
        name = IpnsName.parse(path.stem)
        record.verify(name, time.time())
        assert name.inlined_key() is None
        bare = protobuf.read(record.raw)
        del bare[7]
        with pytest.raises(InvalidRecord, match="neither the name nor the record"):
            IpnsRecord.decode(protobuf.write(sorted(bare.items()))).verify(name, time.time())


@pytest.mark.parametrize("kind", list(KeyType))
@pytest.mark.parametrize("legacy", [True, False])
def test_what_we_make_others_can_check(kind: KeyType, legacy: bool) -> None:
    key = PrivateKey.generate(kind)
    record = made(key, sequence=7, legacy=legacy)
    record.verify(IpnsName.of_key(key.public), NOW)
    assert (record.value, record.sequence, record.eol, record.ttl) == (VALUE, 7, EOL, 60 * SECOND)
    fields = protobuf.read(record.raw)
    assert (7 in fields) == (kind in (KeyType.RSA, KeyType.ECDSA))
    assert list(fields) == sorted(fields)
    if legacy:
        # "Record Creation with Legacy SignatureV1", step 6.
        assert key.public.verify(fields[2], VALUE + write(EOL) + b"EOL")  # type: ignore[arg-type]


def test_the_record_of_another_name_is_none() -> None:
    other = PrivateKey.generate()
    with pytest.raises(InvalidRecord, match="not signed by the key"):
        made(other).verify(NAME, NOW)
    with pytest.raises(InvalidRecord, match="that of another name"):
        IpnsRecord.decode(with_fields(made(other), _7=other.public.encode())).verify(NAME, NOW)
    # The owner's key in a record that somebody else signed.
    with pytest.raises(InvalidRecord, match="not signed by the key"):
        IpnsRecord.decode(with_fields(made(other), _7=KEY.public.encode())).verify(NAME, NOW)


def test_a_changed_record_is_none() -> None:
    record = made(legacy=False)
    changed = dag_cbor.encode(
        {"TTL": 1, "Value": b"/ipfs/x", "Sequence": 9, "Validity": write(EOL), "ValidityType": 0}
    )
    with pytest.raises(InvalidRecord, match="not signed"):
        IpnsRecord.decode(with_fields(record, _9=changed)).verify(NAME, NOW)


def test_the_end_is_to_the_nanosecond() -> None:
    record = made(eol=int(NOW) * SECOND)
    record.verify(NAME, NOW - 1)
    with pytest.raises(ExpiredRecord, match=r"expired at 2027-01-15T08:00:00Z; its owner must publish"):
        record.verify(NAME, NOW)
    assert not made(eol=int(NOW) * SECOND + 1).has_ended(NOW)


@pytest.mark.parametrize(
    ("field", "legacy"),
    [
        ("_1", b"/ipfs/other"),
        ("_4", write(EOL + 1)),
        ("_3", 1),
        ("_5", 1),
        ("_6", 1),
        ("_1", None),
        ("_4", None),
    ],
)
def test_what_old_readers_see_is_what_was_signed(field: str, legacy: protobuf.Field | None) -> None:
    with pytest.raises(InvalidRecord, match="differs between V1 and V2"):
        IpnsRecord.decode(with_fields(made(sequence=0), **{field: legacy}))


def test_a_lone_field_of_v1_is_passed_over() -> None:
    assert IpnsRecord.decode(with_fields(made(legacy=False), _5=99)).sequence == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"Value": None},
        {"Value": "/ipfs/x"},
        {"Validity": b"tomorrow"},
        {"Validity": None},
        {"ValidityType": 1},
        {"ValidityType": None},
        {"Sequence": -1},
        {"Sequence": True},
        {"Sequence": None},
        {"TTL": -1},
        {"TTL": b"1"},
    ],
)
def test_data_of_the_wrong_kind(changed: dict[str, Value]) -> None:
    with pytest.raises(InvalidRecord):
        IpnsRecord.decode(signed(**changed))


def test_more_data_is_passed_over_and_a_ttl_may_be_missing() -> None:
    record = IpnsRecord.decode(signed(_more={"of": ["it"]}, TTL=None))
    record.verify(NAME, NOW)
    assert record.ttl is None
    assert record.ttl_seconds is None


def test_the_largest_numbers() -> None:
    record = IpnsRecord.decode(signed(Sequence=(1 << 64) - 1, TTL=(1 << 64) - 1))
    assert record.sequence == record.ttl == (1 << 64) - 1


def test_sizes_are_bounded_before_parsing() -> None:
    with pytest.raises(InvalidRecord, match=f"{MAX_BYTES} are allowed"):
        IpnsRecord.decode(bytes(MAX_BYTES + 1))
    big = signed(_filling=bytes(MAX_BYTES - 300))
    assert MAX_BYTES - 300 < len(big) <= MAX_BYTES
    IpnsRecord.decode(big).verify(NAME, NOW)
    with pytest.raises(InvalidRecord, match="are allowed"):
        made(value=b"/ipfs/" + b"x" * MAX_BYTES)
    with pytest.raises(InvalidRecord, match="four digits"):
        made(eol=1 << 80)


def test_the_newest_is_by_sequence_then_end_then_bytes() -> None:
    records = [
        made(sequence=1),
        made(sequence=2),
        made(sequence=2, eol=EOL + 1),
        made(sequence=3, eol=EOL - 1),
    ]
    shuffled = [records[2], records[0], records[3], records[1]]
    assert sorted(shuffled, key=lambda record: record.order) == records
    one, other = made(), made(value=b"/ipfs/bafkqaaa")
    assert (one.order < other.order) == (one.raw < other.raw)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (b"/ipfs/bafkqaaa/a b/100%25", "/ipfs/bafkqaaa/a b/100%25"),
        (b"/ipfs/bafkqaaa/50%", "/ipfs/bafkqaaa/50%"),
        (b"/ipns/example.com", "/ipns/example.com"),
        (b"", "/ipfs/bafkqaaa"),
        (bytes([1, 0x55, 0, 0]), "/ipfs/bafkqaaa"),
    ],
)
def test_values_are_paths_and_not_urls(value: bytes, path: str) -> None:
    assert str(made(value=value).path()) == path


@pytest.mark.parametrize("value", [b"/ipfs/nothing", b"/http/x", b"x", b"/ipfs/\xff", b"/ipfs/bafkqaaa/\0"])
def test_values_that_lead_nowhere(value: bytes) -> None:
    with pytest.raises(InvalidRecord, match="points to no content path"):
        made(value=value).path()


def test_etags_are_quoted() -> None:
    assert made().etag.startswith('"bafk')
    assert made().etag.endswith('.ipns-record"')


@given(st.binary(max_size=300))
def test_decoding_fails_in_one_way_only(raw: bytes) -> None:
    with pytest.raises(InvalidRecord):
        IpnsRecord.decode(raw).verify(NAME, NOW)


@given(st.data())
def test_a_record_with_any_byte_changed_is_refused_or_says_the_same(data: st.DataObject) -> None:
    record = made(legacy=data.draw(st.booleans()))
    at = data.draw(st.integers(0, len(record.raw) - 1))
    raw = bytearray(record.raw)
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        changed = IpnsRecord.decode(bytes(raw))
        changed.verify(NAME, NOW)
    except InvalidRecord:
        return
    assert (changed.value, changed.sequence, changed.eol, changed.ttl) == (VALUE, 0, EOL, 60 * SECOND)


@given(
    st.dictionaries(
        st.sampled_from(["Value", "Validity", "ValidityType", "Sequence", "TTL", "x"]),
        st.none() | st.booleans() | st.integers(-3, 3) | st.binary(max_size=30) | st.text(max_size=5),
    )
)
def test_any_signed_data_is_a_record_or_a_clear_error(document: dict[str, Value]) -> None:
    data = dag_cbor.encode(document)
    with contextlib.suppress(InvalidRecord):
        IpnsRecord.decode(protobuf.write([(8, b"x"), (9, data)]))


def test_a_field_twice_is_no_protobuf() -> None:
    with pytest.raises(protobuf.InvalidProtobuf, match="twice"):
        protobuf.read(protobuf.write([(1, 1), (1, 2)]))
    with pytest.raises(protobuf.InvalidProtobuf, match="more than 2 fields"):
        protobuf.read(protobuf.write([(1, 1), (2, 2), (3, 3)]), max_fields=2)


@given(st.binary(max_size=100))
def test_protobuf_fails_in_one_way_only(raw: bytes) -> None:
    with contextlib.suppress(protobuf.InvalidProtobuf):
        protobuf.read(raw)
