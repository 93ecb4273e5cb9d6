"""What every store of IPNS records promises."""

from __future__ import annotations

import asyncio
import time

import asyncpg
import pytest

from ipld.errors import InvalidRecord, StoreUnavailable
from ipld.ipns_record import IpnsRecord
from naming.postgres_records import Pool, PostgresRecords
from naming.records import OlderRecord, Origin, RecordStore
from tests import database as databases
from tests.naming.ipns_records import HELLO, Owner


async def test_the_newest_stays_in_whatever_order_they_come(records: RecordStore) -> None:
    owner = Owner()
    old, new = owner.record(1), owner.record(2)
    assert await records.get(owner.name) is None
    assert (await records.put(owner.name, new, Origin.GIVEN)).record == new
    assert (await records.put(owner.name, old, Origin.GIVEN)).record == new
    stored = await records.get(owner.name)
    assert stored is not None
    assert stored.record == new
    newest = owner.record(3)
    assert (await records.put(owner.name, newest, Origin.GIVEN)).record == newest


async def test_equal_sequences_are_told_apart_by_end_and_bytes(records: RecordStore) -> None:
    owner = Owner()
    short, long = owner.record(5, seconds=60), owner.record(5, seconds=120)
    await records.put(owner.name, long, Origin.GIVEN)
    assert (await records.put(owner.name, short, Origin.GIVEN)).record == long
    one, other = (IpnsRecord(raw, b"", 9, 9, None, b"", b"") for raw in (b"\x7f", b"\x80"))
    assert one.order < other.order


async def test_numbers_that_fit_no_bigint(records: RecordStore) -> None:
    owner = Owner()
    eight_thousand_years = 8000 * 365 * 86400.0
    for sequence in ((1 << 64) - 2, (1 << 64) - 1):
        record = owner.record(sequence, seconds=eight_thousand_years - 5e10)
        assert (await records.put(owner.name, record, Origin.GIVEN)).record == record
    stored = await records.put(owner.name, owner.record(1 << 63), Origin.GIVEN)
    assert stored.record.sequence == (1 << 64) - 1


async def test_the_origin_only_rises(records: RecordStore) -> None:
    owner = Owner()
    record = owner.record()
    for origin, expected in (
        (Origin.FOUND, Origin.FOUND),
        (Origin.OWN, Origin.OWN),
        (Origin.GIVEN, Origin.OWN),
    ):
        assert (await records.put(owner.name, record, origin)).origin is expected


async def test_checked_notes_the_time(records: RecordStore) -> None:
    owner = Owner()
    await records.checked(owner.name)
    before = await records.put(owner.name, owner.record(), Origin.FOUND)
    assert abs(before.checked_at - time.time()) < 5
    await asyncio.sleep(0.02)
    await records.checked(owner.name)
    after = await records.get(owner.name)
    assert after is not None
    assert after.checked_at > before.checked_at


async def test_advance_gives_what_is_there_and_keeps_what_is_made(records: RecordStore) -> None:
    owner = Owner()
    seen: list[IpnsRecord | None] = []

    def make(before: IpnsRecord | None) -> IpnsRecord:
        seen.append(before)
        return owner.record(0 if before is None else before.sequence + 1)

    first = await records.advance(owner.name, make)
    second = await records.advance(owner.name, make)
    assert seen == [None, first]
    stored = await records.get(owner.name)
    assert stored is not None
    assert (stored.record, stored.origin) == (second, Origin.OWN)
    assert await records.advance(owner.name, lambda _: second) == second


async def test_advance_never_goes_back(records: RecordStore) -> None:
    owner = Owner()
    newer = owner.record(7)
    await records.put(owner.name, newer, Origin.GIVEN)
    with pytest.raises(OlderRecord):
        await records.advance(owner.name, lambda _: owner.record(6))
    stored = await records.get(owner.name)
    assert stored is not None
    assert stored.record == newer


async def test_what_fails_to_be_made_changes_nothing(records: RecordStore) -> None:
    owner = Owner()

    def fail(_: IpnsRecord | None) -> IpnsRecord:
        raise InvalidRecord("no")

    with pytest.raises(InvalidRecord):
        await records.advance(owner.name, fail)
    assert await records.get(owner.name) is None
    assert await records.advance(owner.name, lambda _: owner.record())


async def test_sequences_rise_one_by_one_under_concurrency(records: RecordStore) -> None:
    owner = Owner()

    async def publish(number: int) -> IpnsRecord:
        def make(before: IpnsRecord | None) -> IpnsRecord:
            return owner.record(0 if before is None else before.sequence + 1, f"{HELLO}/{number}")

        return await records.advance(owner.name, make)

    made = await asyncio.gather(*map(publish, range(20)))
    assert sorted(record.sequence for record in made) == list(range(20))


async def test_prune_drops_only_what_was_found(records: RecordStore) -> None:
    owners = [Owner() for _ in range(4)]
    for owner, origin in zip(owners, (Origin.FOUND, Origin.FOUND, Origin.GIVEN, Origin.OWN), strict=True):
        await records.put(owner.name, owner.record(), origin)
        await asyncio.sleep(0.01)

    async def left() -> list[bool]:
        return [await records.get(owner.name) is not None for owner in owners]

    assert await records.prune(3600, 2) == 0
    assert await records.prune(3600, 1) == 1
    assert await left() == [False, True, True, True]
    assert await records.prune(0, 10) == 1
    assert await left() == [False, False, True, True]


async def test_two_gateways_never_sign_one_sequence_twice(names_pool: Pool) -> None:
    """Two stores over two pools, as on two machines."""
    owner = Owner()
    async with asyncpg.create_pool(dsn=_dsn(names_pool), min_size=1, max_size=2) as other:
        stores = [PostgresRecords(names_pool), PostgresRecords(other)]

        async def publish(number: int) -> int:
            record = await stores[number % 2].advance(
                owner.name, lambda before: owner.record(0 if before is None else before.sequence + 1)
            )
            return record.sequence

        assert sorted(await asyncio.gather(*map(publish, range(16)))) == list(range(16))


def _dsn(pool: Pool) -> str:
    dsn: str = pool._connect_args[0]
    return dsn


async def test_a_connection_that_broke_at_a_bad_moment(
    names_pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asyncpg.pool.Pool, "_acquire", databases.confused)
    with pytest.raises(StoreUnavailable, match="IPNS names"):
        await PostgresRecords(names_pool).get(Owner().name)


async def test_a_database_that_is_gone_is_said_plainly(names_pool: Pool) -> None:
    owner = Owner()
    store = PostgresRecords(names_pool, timeout=2.0)
    await names_pool.execute("ALTER TABLE ipns_records RENAME TO elsewhere")
    for call in (
        store.get(owner.name),
        store.put(owner.name, owner.record(), Origin.FOUND),
        store.checked(owner.name),
        store.advance(owner.name, lambda _: owner.record()),
        store.prune(1, 1),
    ):
        with pytest.raises(StoreUnavailable, match="IPNS names"):
            await call
