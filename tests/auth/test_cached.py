"""The cache spares the store and never delays a revocation by a second."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from auth.cached import TTL_SECONDS, CachedKeys, cached_keys
from auth.errors import KeysUnavailable
from auth.keys import ApiKey, KeyRequest, Scope, make_secret
from auth.memory import MemoryKeys

UPLOAD = frozenset({Scope.UPLOAD})


class SlowKeys(MemoryKeys):
    """Counts what it is asked, takes its time, and fails when told to."""

    asked = 0
    delay = 0.0
    broken = False

    async def authenticate(self, secret: str) -> ApiKey | None:
        self.asked += 1
        found = await super().authenticate(secret)
        await asyncio.sleep(self.delay)
        if self.broken:
            raise KeysUnavailable("down")
        return found

    async def touch(self, used: object) -> None:
        if self.broken:
            raise KeysUnavailable("down")
        await super().touch(used)  # type: ignore[arg-type]


async def test_one_question_for_many_requests() -> None:
    store = SlowKeys()
    store.delay = 0.01
    cached = CachedKeys(store)
    new = await cached.create(KeyRequest("laptop", UPLOAD))
    found = await asyncio.gather(*(cached.authenticate(new.secret) for _ in range(50)))
    assert found == [new.key] * 50
    assert await cached.authenticate(new.secret) == new.key
    assert store.asked == 1


async def test_wrong_keys_are_remembered_apart_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auth.cached._ENTRIES", 10)
    store = SlowKeys()
    cached = CachedKeys(store)
    new = await cached.create(KeyRequest("laptop", UPLOAD))
    await cached.authenticate(new.secret)
    wrong = [make_secret() for _ in range(50)]
    for secret in wrong:
        assert await cached.authenticate(secret) is None
    assert await cached.authenticate(wrong[-1]) is None
    await cached.authenticate(new.secret)
    assert store.asked == 51
    assert await cached.authenticate("cidgate_mistyped") is None
    assert store.asked == 51


async def test_revocation_on_another_replica_acts_within_a_second() -> None:
    store = MemoryKeys()
    here, there = CachedKeys(store), CachedKeys(store)
    new = await here.create(KeyRequest("laptop", UPLOAD))
    assert await there.authenticate(new.secret)
    await here.revoke(str(new.key.id))
    assert await here.authenticate(new.secret) is None
    await asyncio.sleep(TTL_SECONDS + 0.05)
    assert await there.authenticate(new.secret) is None
    assert not await there.is_good(new.key.id)
    assert TTL_SECONDS < 1


async def test_age_counts_from_the_question() -> None:
    store = SlowKeys()
    store.delay = 0.1
    cached = CachedKeys(store, ttl=0.05)
    new = await store.create(KeyRequest("laptop", UPLOAD))
    first = asyncio.create_task(cached.authenticate(new.secret))
    await asyncio.sleep(0.06)
    await store.revoke("laptop")
    # joins the lookup that began before the revocation, and must not believe it
    assert await cached.authenticate(new.secret) is None
    assert await first is not None
    assert store.asked == 2


async def test_key_that_expires_while_it_is_remembered() -> None:
    cached = CachedKeys(MemoryKeys())
    expiry = datetime.now(UTC) + timedelta(seconds=1)
    new = await cached.create(KeyRequest("laptop", UPLOAD, expiry))
    assert await cached.authenticate(new.secret)
    await asyncio.sleep(1.05)
    assert await cached.authenticate(new.secret) is None


async def test_one_who_leaves_fails_nobody() -> None:
    store = SlowKeys()
    store.delay = 0.05
    cached = CachedKeys(store)
    new = await cached.create(KeyRequest("laptop", UPLOAD))
    leaver = asyncio.create_task(cached.authenticate(new.secret))
    stayer = asyncio.create_task(cached.authenticate(new.secret))
    await asyncio.sleep(0.01)
    leaver.cancel()
    assert await stayer == new.key


async def test_failure_is_not_remembered() -> None:
    store = SlowKeys()
    cached = CachedKeys(store)
    new = await cached.create(KeyRequest("laptop", UPLOAD))
    store.broken = True
    results = await asyncio.gather(
        *(cached.authenticate(new.secret) for _ in range(3)), return_exceptions=True
    )
    assert all(isinstance(result, KeysUnavailable) for result in results)
    store.broken = False
    assert await cached.authenticate(new.secret) == new.key


async def test_last_use_is_written_later_and_at_the_end() -> None:
    store = SlowKeys()
    async with cached_keys(store, flush_seconds=0.5) as cached:
        new = await cached.create(KeyRequest("laptop", UPLOAD))
        await cached.authenticate(new.secret)
        assert [key.last_used_at for key in await store.list()] == [None]
        async with asyncio.timeout(30):
            while (key := (await store.list())[0]).last_used_at is None:
                await asyncio.sleep(0.05)
        await cached.authenticate(new.secret)
    (after,) = await store.list()
    assert after.last_used_at is not None
    assert after.last_used_at > key.last_used_at


async def test_last_use_outlives_a_database_that_is_away() -> None:
    store = SlowKeys()
    cached = CachedKeys(store)
    new = await cached.create(KeyRequest("laptop", UPLOAD))
    await cached.authenticate(new.secret)
    store.broken = True
    await cached.flush()
    store.broken = False
    await cached.flush()
    (key,) = await store.list()
    assert key.last_used_at is not None
