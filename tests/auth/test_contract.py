"""What every store of keys promises."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from auth.errors import AmbiguousKey, KeyExists, KeyNotFound
from auth.keys import ApiKeys, KeyRequest, Scope, make_secret

UPLOAD = frozenset({Scope.UPLOAD})


async def test_created_key_is_known_by_its_secret(keys: ApiKeys) -> None:
    new = await keys.create(KeyRequest("laptop", frozenset({Scope.UPLOAD, Scope.READ})))
    found = await keys.authenticate(new.secret)
    assert found == new.key
    assert found is not None
    assert (found.name, found.scopes) == ("laptop", frozenset({Scope.UPLOAD, Scope.READ}))
    assert new.secret.startswith(found.prefix)
    assert list(await keys.list()) == [found]
    assert await keys.is_good(found.id)


async def test_how_long_its_uploads_are_kept(keys: ApiKeys) -> None:
    new = await keys.create(KeyRequest("ci", UPLOAD, uploads_expire_in=7 * 86400))
    found = await keys.authenticate(new.secret)
    assert found is not None
    assert (found.uploads_expire_in, found.expires_at) == (7 * 86400, None)
    assert (await keys.create(KeyRequest("laptop", UPLOAD))).key.uploads_expire_in is None
    for wrong in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="uploads expire"):
            await keys.create(KeyRequest("ci", UPLOAD, uploads_expire_in=wrong))


async def test_unknown_and_malformed_secrets(keys: ApiKeys) -> None:
    new = await keys.create(KeyRequest("laptop", UPLOAD))
    wrong = (
        "",
        make_secret(),
        new.secret[:-1],
        new.secret.lower(),
        new.secret + "A",
        "a" * 30,
        "\udcff" * 30,
        "é\0",
    )
    for secret in wrong:
        assert await keys.authenticate(secret) is None
    assert not await keys.is_good(uuid4())


async def test_revoked_key_is_refused_for_ever(keys: ApiKeys) -> None:
    new = await keys.create(KeyRequest("laptop", UPLOAD))
    revoked = await keys.revoke(str(new.key.id))
    assert revoked.revoked_at is not None
    assert await keys.authenticate(new.secret) is None
    assert not await keys.is_good(new.key.id)
    assert list(await keys.list()) == [revoked]
    with pytest.raises(KeyExists):
        await keys.create(KeyRequest("again", UPLOAD, secret=new.secret))


@pytest.mark.parametrize("by", ["id", "prefix", "name"])
async def test_revoke_by(keys: ApiKeys, by: str) -> None:
    new = await keys.create(KeyRequest("laptop", UPLOAD))
    other = await keys.create(KeyRequest("phone", UPLOAD))
    assert (await keys.revoke(str(getattr(new.key, by)))).id == new.key.id
    assert await keys.authenticate(other.secret) is not None
    with pytest.raises(KeyNotFound):
        await keys.revoke(str(getattr(new.key, by)))


async def test_name_of_two_keys_revokes_neither(keys: ApiKeys) -> None:
    both = [await keys.create(KeyRequest("laptop", UPLOAD)) for _ in range(2)]
    with pytest.raises(AmbiguousKey):
        await keys.revoke("laptop")
    for new in both:
        assert await keys.authenticate(new.secret) is not None
    await keys.revoke(str(both[0].key.id))
    assert (await keys.revoke("laptop")).id == both[1].key.id


async def test_expiry(keys: ApiKeys) -> None:
    now = datetime.now(UTC)
    past = await keys.create(KeyRequest("past", UPLOAD, now - timedelta(seconds=1)))
    future = await keys.create(KeyRequest("future", UPLOAD, now + timedelta(hours=1)))
    assert await keys.authenticate(past.secret) is None
    found = await keys.authenticate(future.secret)
    assert found is not None
    assert found.expires_at == now + timedelta(hours=1)


async def test_chosen_secret_is_taken_once(keys: ApiKeys) -> None:
    chosen = KeyRequest("bootstrap", frozenset({Scope.ADMIN}), secret="a-secret-of-an-operator")
    results = await asyncio.gather(*(keys.create(chosen) for _ in range(4)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["KeyExists"] * 3 + ["NewKey"]
    found = await keys.authenticate("a-secret-of-an-operator")
    assert found is not None
    assert found.allows(Scope.DELETE)


@pytest.mark.parametrize(
    "request_",
    [
        KeyRequest("laptop", frozenset()),
        KeyRequest("", UPLOAD),
        KeyRequest("a\nb", UPLOAD),
        KeyRequest("a" * 201, UPLOAD),
        KeyRequest("laptop", UPLOAD, secret="short"),
        KeyRequest("laptop", UPLOAD, secret="cidgate_" + "0" * 38),
        KeyRequest("laptop", UPLOAD, expires_at=datetime(2030, 1, 1)),  # noqa: DTZ001 - no time zone is the point
    ],
)
async def test_keys_that_no_store_takes(keys: ApiKeys, request_: KeyRequest) -> None:
    with pytest.raises(ValueError, match="key"):
        await keys.create(request_)
    assert not await keys.list()


async def test_last_use_never_goes_back(keys: ApiKeys) -> None:
    one, two = [await keys.create(KeyRequest(name, UPLOAD)) for name in ("one", "two")]
    now = datetime.now(UTC)
    await keys.touch({one.key.id: now, uuid4(): now})
    await keys.touch({one.key.id: now - timedelta(hours=1)})
    await keys.touch({})
    assert [key.last_used_at for key in await keys.list()] == [now, None]
    assert two.key.last_used_at is None
