"""The form of a key, and what is kept of it."""

from __future__ import annotations

import hashlib

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth import postgres
from auth.errors import KeysUnavailable
from auth.keys import PREFIX, KeyRequest, Scope, hash_secret, is_well_formed, make_secret, shown
from auth.postgres import PostgresKeys
from tests import database as databases

ADMIN = frozenset({Scope.ADMIN})


def test_form() -> None:
    secrets = {make_secret() for _ in range(1000)}
    assert len(secrets) == 1000
    assert all(
        secret.startswith("cidgate_") and len(secret) == 46 and is_well_formed(secret) for secret in secrets
    )


@given(st.integers(len(PREFIX), 45), st.sampled_from("0Aaz9"))
def test_one_wrong_character_is_noticed_without_the_database(place: int, character: str) -> None:
    secret = make_secret()
    typo = secret[:place] + character + secret[place + 1 :]
    assert is_well_formed(typo) == (typo == secret)


def test_hash_is_sha256() -> None:
    assert hash_secret("abc") == hashlib.sha256(b"abc").digest()


def test_repr_hides_the_secret() -> None:
    new = KeyRequest("laptop", ADMIN).make()
    assert new.secret not in repr(new)
    assert "operator" not in repr(KeyRequest("laptop", ADMIN, secret="a-secret-of-an-operator"))
    assert len(shown(new.secret)) == len(PREFIX) + 4


async def test_database_keeps_no_secret_and_hashes_are_compared_in_constant_time(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def refuse(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return False

    async with asyncpg.create_pool(database, min_size=1, max_size=1) as pool:
        keys = PostgresKeys(pool)
        new = await keys.create(KeyRequest("laptop", ADMIN))
        assert new.secret not in str(await pool.fetch("SELECT api_keys::text FROM api_keys"))
        monkeypatch.setattr(postgres, "same_hash", refuse)
        assert await keys.authenticate(new.secret) is None
    assert compared == [(hash_secret(new.secret), hash_secret(new.secret))]


async def test_database_that_cannot_be_asked(database: str) -> None:
    async with asyncpg.create_pool(database, min_size=1, max_size=1) as pool:
        await pool.execute("ALTER TABLE api_keys RENAME TO away")
        await _unavailable(PostgresKeys(pool))
        await pool.execute("ALTER TABLE away RENAME TO api_keys")
        async with pool.acquire() as connection, connection.transaction():
            await _unavailable(PostgresKeys(pool, timeout=0.05))  # the pool has no more connections
            await connection.execute("LOCK TABLE api_keys")
            async with asyncpg.create_pool(database, min_size=1, max_size=1) as other:
                await _unavailable(PostgresKeys(other, timeout=0.05))
    await _unavailable(PostgresKeys(pool))


async def test_a_connection_that_broke_at_a_bad_moment(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asyncpg.create_pool(database, min_size=1, max_size=1) as pool:
        monkeypatch.setattr(asyncpg.pool.Pool, "_acquire", databases.confused)
        await _unavailable(PostgresKeys(pool))


async def _unavailable(keys: PostgresKeys) -> None:
    key = KeyRequest("laptop", ADMIN).make()
    with pytest.raises(KeysUnavailable):
        await keys.authenticate(key.secret)
    with pytest.raises(KeysUnavailable):
        await keys.is_good(key.key.id)
    with pytest.raises(KeysUnavailable):
        await keys.list()
