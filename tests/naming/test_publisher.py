"""Publishing under names of ours: keys at rest, sequences, owners, routers, renewal."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field, replace
from uuid import uuid4

import pytest

from ipld.errors import InvalidKey, MalformedBlock, StoreUnavailable
from ipld.ipns_name import IpnsName
from ipld.ipns_record import IpnsRecord, make_record
from ipld.libp2p_keys import KeyType, PrivateKey
from ipld.rfc3339 import SECOND
from naming import publisher as publishing
from naming.delegated_routing import DelegatedRouter
from naming.ipns import IpnsNames
from naming.key_ring import KeyRing, PublishingOff, SecretChanged
from naming.memory_named_keys import MemoryNamedKeys
from naming.memory_records import MemoryRecords
from naming.named_keys import InvalidLabel, KeyTaken, KeyUnknown, NamedKey, NamedKeys, NotYourKey
from naming.publisher import MAX_VALUE_BYTES, InvalidPublication, Publisher, Terms
from naming.records import Make, Origin, RecordStore, RecordsUnavailable, StoredRecord
from naming.secret_box import SecretBox, WrongSecret
from naming.via import Via
from tests.naming.ipns_records import HELLO, Owner, remote, server

SECRET = "a long text for tests"
HOUR = 3600.0
ME = uuid4()


@dataclass
class Router:
    """Takes records, unless it fails."""

    url: str = "https://router.example"
    fails: bool = False
    told: list[IpnsRecord] = field(default_factory=list)

    async def announce(self, name: IpnsName, record: IpnsRecord) -> None:
        if self.fails:
            raise RecordsUnavailable("router is down")
        self.told.append(record)


def publisher(
    records: RecordStore | None = None,
    keys: NamedKeys | None = None,
    *routers: Router,
    secret: str | None = SECRET,
) -> Publisher:
    box = SecretBox(secret) if secret else None
    names = IpnsNames(records or MemoryRecords())
    return Publisher(KeyRing(keys or MemoryNamedKeys(), box), names, routers)


async def made(it: Publisher, label: str = "blog") -> NamedKey:
    key, _ = await it.key_of(label, ME, admin=False)
    return key


async def test_what_is_published_resolves(records: RecordStore, named_keys: NamedKeys) -> None:
    it = publisher(records, named_keys)
    key, new = await it.key_of("blog", ME, admin=False)
    assert new
    for sequence, value in enumerate((HELLO, f"{HELLO}/a b/50%", "bafkqaaa", "/ipns/example.com")):
        record = await it.publish(key, value)
        record.verify(key.name, time.time())
        assert record.sequence == sequence
        found = await it.names.resolve(str(key.name))
        assert str(found.path) == (value if value.startswith("/") else f"/ipfs/{value}")
        assert found.ttl == 300
        assert abs(record.expires - time.time() - 48 * HOUR) < 10
    assert await it.key_of("blog", ME, admin=False) == (replace(key, lifetime=48 * HOUR), False)


async def test_several_gateways_publish_one_name_at_once(records: RecordStore, named_keys: NamedKeys) -> None:
    first, second = publisher(records, named_keys), publisher(records, named_keys)
    key = await made(first)
    done = await asyncio.gather(
        *((first, second)[number % 2].publish(key, f"{HELLO}/{number}") for number in range(10))
    )
    assert sorted(record.sequence for record in done) == list(range(10))


async def test_after_the_highest_sequence_there_is_no_other(
    records: RecordStore, named_keys: NamedKeys
) -> None:
    it, owner = publisher(records, named_keys), Owner()
    key = await it.ring.add("blog", ME, owner.key)
    await records.put(owner.name, owner.record(2**64 - 1), Origin.GIVEN)
    with pytest.raises(InvalidPublication, match="highest sequence"):
        await it.publish(key, HELLO)


async def test_two_gateways_make_one_key(records: RecordStore, named_keys: NamedKeys) -> None:
    it = publisher(records, named_keys)
    keys = await asyncio.gather(*(it.key_of("blog", ME, admin=False) for _ in range(4)))
    assert len({key.name for key, _ in keys}) == 1
    assert sum(new for _, new in keys) == 1


async def test_a_key_is_its_owners() -> None:
    it = publisher()
    key = await made(it)
    for text in ("blog", str(key.name)):
        with pytest.raises(NotYourKey, match="belongs to another API key"):
            await it.key_of(text, uuid4(), admin=False)
        assert await it.key_of(text, uuid4(), admin=True) == (key, False)
        assert await it.key_of(text, ME, admin=False) == (key, False)


async def test_labels_are_checked() -> None:
    it = publisher()
    for label in ("Not.A.Label", str(Owner().name)):
        with pytest.raises(InvalidLabel):
            await it.key_of(label, ME, admin=True)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("/http/x", "neither a CID nor a path"),
        ("hello", "neither a CID nor a path"),
        ("/ipfs/nothing", "neither a CID nor a path"),
        ("/ipfs/bafkqaaa/" + "x" * MAX_VALUE_BYTES, f"{MAX_VALUE_BYTES} are allowed"),
        # From JSON, and bytes that are no UTF-8, as the command line hands them on.
        ("/ipfs/bafkqaaa/\ud800", "no Unicode text"),
        ("/ipfs/bafkqaaa/" + b"\xff".decode("utf-8", "surrogateescape"), "no Unicode text"),
    ],
)
async def test_values_that_lead_nowhere(value: str, reason: str) -> None:
    it = publisher()
    with pytest.raises(InvalidPublication, match=reason):
        it.check(value, Terms())


async def test_the_longest_value_fits_in_a_record() -> None:
    it = publisher()
    key = await it.ring.create("blog", ME, KeyType.RSA)
    longest = "/ipfs/bafkqaaa/" + "x" * (MAX_VALUE_BYTES - 15)
    assert (await it.publish(key, longest)).value == longest.encode()


async def test_a_name_does_not_point_to_itself() -> None:
    it = publisher()
    key = await made(it)
    for form in (str(key.name), key.name.cid.encode("base32")):
        with pytest.raises(InvalidPublication, match="to itself"):
            await it.publish(key, f"/ipns/{form}/x")


@pytest.mark.parametrize(
    "terms", [Terms(3599.0), Terms(101 * 365 * 86400.0), Terms(HOUR, -1.0), Terms(HOUR, HOUR + 1)]
)
async def test_terms_that_no_record_has(terms: Terms) -> None:
    it = publisher()
    with pytest.raises(InvalidPublication):
        await it.publish(await made(it), HELLO, terms)


async def test_a_sequence_that_is_known_elsewhere_is_passed() -> None:
    """A key that was used before it came here, and a record that somebody put."""
    it = publisher()
    owner = Owner()
    key = await it.ring.add("blog", ME, owner.key)

    async def find(name: IpnsName, via: Via) -> IpnsRecord | None:
        return owner.record(41)

    class Search:
        has_sources = True
        is_circle = staticmethod(lambda via: False)
        __call__ = staticmethod(find)

    it = replace(it, names=replace(it.names, search=Search()))
    assert (await it.publish(key, HELLO)).sequence == 42
    await it.names.store.put(key.name, owner.record(99), Origin.GIVEN)
    assert (await it.publish(key, HELLO)).sequence == 100


async def test_without_a_secret_nothing_is_published(named_keys: NamedKeys) -> None:
    with pytest.raises(PublishingOff, match="IPNS_KEY_SECRET"):
        await publisher(keys=named_keys, secret=None).key_of("blog", ME, admin=False)
    key = await made(publisher(keys=named_keys))
    with pytest.raises(PublishingOff, match="IPNS_KEY_SECRET"):
        await publisher(keys=named_keys, secret=None).publish(key, HELLO)


async def test_another_secret_is_told(named_keys: NamedKeys) -> None:
    key = await made(publisher(keys=named_keys))
    with pytest.raises(SecretChanged, match="IPNS_KEY_SECRET is not the secret that the key blog"):
        await publisher(keys=named_keys, secret="another long text").publish(key, HELLO)


async def test_keys_are_sealed_at_rest() -> None:
    keys = MemoryNamedKeys()
    it = publisher(keys=keys)
    key = await made(it)
    private = await it.ring.open(key)
    assert private.encode()[4:36] not in key.sealed
    assert IpnsName.of_key(private.public) == key.name
    # A box that was put in the place of another does not open.
    other = await made(it, "other")
    with pytest.raises(SecretChanged):
        await it.ring.open(replace(key, sealed=other.sealed))


async def test_boxes() -> None:
    box = SecretBox("secret")
    sealed = await box.seal(b"plain", b"about")
    assert await SecretBox("secret").open(sealed, b"about") == b"plain"
    assert await box.seal(b"plain", b"about") != sealed
    changed = bytearray(sealed)
    changed[-1] ^= 1
    for attempt in (
        SecretBox("other").open(sealed, b"about"),
        box.open(sealed, b"else"),
        box.open(bytes(changed), b"about"),
        box.open(sealed[:20], b"about"),
        box.open(b"", b"about"),
        box.open(b"\2" + sealed[1:], b"about"),
    ):
        with pytest.raises(WrongSecret):
            await attempt


async def test_keys_of_others_are_taken_in() -> None:
    it = publisher()
    key = PrivateKey.generate(KeyType.SECP256K1)
    added = await it.ring.add("blog", ME, PrivateKey.decode(key.encode()))
    assert added.name == IpnsName.of_key(key.public)
    assert (await it.ring.open(added)).encode() == key.encode()
    with pytest.raises(KeyTaken):
        await it.ring.add("again", ME, key)
    with pytest.raises(KeyUnknown, match="'nothing'"):
        await it.ring.find("nothing")
    with pytest.raises(InvalidKey):
        PrivateKey.decode(b"no key")


async def test_routers_are_told_and_their_answers_passed_on() -> None:
    good, bad = Router(), Router("https://other.example", fails=True)
    it = publisher(None, None, good, bad)
    key = await made(it)
    record = await it.publish(key, HELLO)
    assert await it.announce(key.name, record) == {good.url: None, bad.url: "router is down"}
    assert good.told == [record]


async def test_nobody_waits_for_ever_for_a_router(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Router):
        async def announce(self, name: IpnsName, record: IpnsRecord) -> None:
            await asyncio.sleep(30)

    monkeypatch.setattr(publishing, "ANNOUNCE_TIMEOUT", 0.05)
    router = Silent()
    it = publisher(None, None, router)
    key = await made(it)
    said = await it.announce(key.name, await it.publish(key, HELLO))
    assert said == {router.url: f"{router.url} did not take it within 0.05 s"}


async def test_a_real_router_takes_it() -> None:
    async with server() as other, remote(other.url) as asked:
        other.gives()
        it = replace(publisher(), routers=[DelegatedRouter(asked)])
        key = await made(it)
        record = await it.publish(key, HELLO)
        assert await it.announce(key.name, record) == {other.url: None}
        assert other.bodies == [record.raw]


async def test_records_past_half_of_their_life_are_signed_anew(
    records: RecordStore, named_keys: NamedKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "CLAIM_SECONDS", 0.0)
    router = Router()
    it = publisher(records, named_keys, router)
    key = await made(it)
    before = await it.publish(key, HELLO, Terms(HOUR, 60.0))
    assert await it.renew() == 0
    # As if more than half of it had gone by.
    await named_keys.published("blog", 4 * HOUR)
    assert await it.renew() == 1
    after = (await it.names.current(key.name)).record
    assert router.told == [after]
    assert after.order > before.order
    assert (after.value, after.sequence, after.ttl) == (before.value, before.sequence, before.ttl)
    assert abs(after.expires - time.time() - 4 * HOUR) < 10
    assert await it.renew() == 0


async def test_routers_are_told_again_before_they_forget(monkeypatch: pytest.MonkeyPatch) -> None:
    router = Router()
    it = publisher(None, None, router)
    key = await made(it)
    record = await it.publish(key, HELLO)
    assert await it.renew() == 0
    monkeypatch.setattr(publishing, "ANNOUNCE_SECONDS", 0.0)
    assert await it.renew() == 1
    assert router.told == [record]


async def test_of_two_gateways_one_renews(
    records: RecordStore, named_keys: NamedKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "CLAIM_SECONDS", 0.2)
    it = publisher(records, named_keys)
    await it.publish(await made(it), HELLO, Terms(HOUR, 60.0))
    await named_keys.published("blog", 4 * HOUR)
    await asyncio.sleep(0.25)
    assert sorted(await asyncio.gather(it.renew(), publisher(records, named_keys).renew())) == [0, 1]


@pytest.mark.parametrize("ttl", [2**64 - 1, 2**63 + 1, 1])
async def test_a_renewed_record_has_the_ttl_of_before_to_the_nanosecond(
    monkeypatch: pytest.MonkeyPatch, ttl: int
) -> None:
    """Also one that only the holder of the private key would choose: a float is more than a record holds."""
    monkeypatch.setattr(publishing, "CLAIM_SECONDS", 0.0)
    it, owner = publisher(), Owner()
    key = await it.ring.add("blog", ME, owner.key)
    await it.publish(key, HELLO, Terms(HOUR, 60.0))
    end = time.time_ns() + int(HOUR * SECOND)
    given = make_record(owner.key, HELLO.encode(), sequence=5, eol=end, ttl=ttl)
    await it.names.put(key.name, given.raw)
    await it.ring.keys.published("blog", 4 * HOUR)
    assert await it.renew() == 1
    after = (await it.names.current(key.name)).record
    assert (after.sequence, after.ttl) == (5, ttl)
    assert after.expires > given.expires


@pytest.mark.parametrize("mistake", [MalformedBlock("a number is too large"), OverflowError("too large")])
async def test_a_record_that_cannot_be_signed_anew_does_not_stop_the_others(
    mistake: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(publishing, "CLAIM_SECONDS", 0.0)

    class Records(MemoryRecords):
        """With methods that can be replaced."""

    keys, records = MemoryNamedKeys(), Records()
    it = publisher(records, keys)
    broken = await made(it, "a")
    for key in (broken, await made(it, "b")):
        await it.publish(key, HELLO, Terms(HOUR, 60.0))
        await keys.published(key.label, 4 * HOUR)

    def failing(private: PrivateKey, value: bytes, **terms: int) -> IpnsRecord:
        if IpnsName.of_key(private.public) == broken.name:
            raise mistake
        return make_record(private, value, **terms)

    monkeypatch.setattr(publishing, "make_record", failing)
    assert await it.renew() == 1
    assert f"the record of {broken.name} was not renewed" in caplog.text
    assert str(mistake) in caplog.text

    async def gone(name: IpnsName, make: Make) -> IpnsRecord:
        return make(None)

    # One that was lost since it was looked at is no outage of the store, which ends the round.
    monkeypatch.setattr(records, "advance", gone)
    assert await it.renew() == 0
    assert f"the record of {broken.name} is gone" in caplog.text

    async def down(name: IpnsName) -> StoredRecord | None:
        raise StoreUnavailable("the database is down")

    monkeypatch.setattr(records, "get", down)
    with pytest.raises(StoreUnavailable, match="database is down"):
        await it.renew()


async def test_a_key_that_cannot_be_used_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(publishing, "CLAIM_SECONDS", 0.0)
    keys, records = MemoryNamedKeys(), MemoryRecords()
    lost = publisher(records, keys, secret="a secret that was lost")
    await lost.publish(await made(lost, "a"), HELLO, Terms(HOUR, 60.0))
    it = publisher(records, keys)
    await it.publish(await made(it, "b"), HELLO, Terms(HOUR, 60.0))
    await made(it, "never-published")
    for label in "ab":
        await keys.published(label, 4 * HOUR)
    assert await it.renew() == 1
    assert "IPNS_KEY_SECRET is not the secret" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert await publisher(records, keys, secret=None).renew() == 0
    assert "3 IPNS keys are here and IPNS_KEY_SECRET is not set" in caplog.text
