"""Every gateway hears of what was taken away, through every loss of its connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import uuid4

import asyncpg
import pytest

from ipld.cid import Cid
from ipld.errors import StoreUnavailable
from storage import epochs as module
from storage.epochs import Epochs
from storage.index import Layout, NewObject, NewUpload
from storage.postgres_index import Pool, PostgresIndex


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def delete_something(pool: Pool) -> None:
    index, key, owner = PostgresIndex(pool), uuid4().hex, uuid4()
    root = Cid.of(key.encode())
    await index.begin(key)
    await index.commit([NewObject(key, Layout.CAR, root, 1, [])], NewUpload(owner, root, "", 1))
    assert (await index.release(owner, root)).keys


async def test_a_deletion_is_heard_at_once(pool: Pool) -> None:
    heard: list[int] = []
    async with Epochs(pool, heard.append).following():
        assert heard == [0], "whatever was cached before is void"
        await asyncio.sleep(0.1)
        await delete_something(pool)
        await until(lambda: heard[-1] == 1)
        await delete_something(pool)
        await until(lambda: heard[-1] == 2)
    await delete_something(pool)
    assert heard[-1] == 2


async def test_asking_now(pool: Pool) -> None:
    heard: list[int] = []
    epochs = Epochs(pool, heard.append)
    await delete_something(pool)
    await epochs.refresh()
    await epochs.refresh()
    assert heard == [1, 1]


async def test_a_deletion_that_is_not_committed_is_not_heard(pool: Pool) -> None:
    heard: list[int] = []
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("UPDATE cache_epoch SET epoch = epoch + 1")
        await Epochs(pool, heard.append).refresh()
    assert heard == [0]


@pytest.mark.parametrize("how", ["killed", "renamed"])
async def test_a_connection_that_is_lost(
    pool: Pool, how: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.2)
    heard: list[int] = []
    async with Epochs(pool, heard.append).following():
        await asyncio.sleep(0.1)
        if how == "killed":
            await pool.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()"""
            )
        else:
            # An error that nobody has thought of must not end the listening either.
            await pool.execute("ALTER TABLE cache_epoch RENAME TO hidden")
            await until(lambda: "Retrying" in caplog.text)
            await pool.execute("ALTER TABLE hidden RENAME TO cache_epoch")
        for _ in range(20):
            try:
                await delete_something(pool)
                break
            except StoreUnavailable:
                await asyncio.sleep(0.05)
        await until(lambda: heard[-1] == 1)
        await until(lambda: "Retrying" in caplog.text)
        await asyncio.sleep(0.5)
        await delete_something(pool)
        await until(lambda: heard[-1] == 2)


async def test_a_late_word_of_an_old_deletion(pool: Pool) -> None:
    heard: list[int] = []
    epochs = Epochs(pool, heard.append)
    for payload in ("5", "4", "5", "6"):
        epochs._heard(None, 0, "", payload)
    assert heard == [5, 5, 6]


async def test_without_a_database(database: str) -> None:
    pool = await asyncpg.create_pool(database, min_size=1, max_size=2)
    await pool.close()
    with pytest.raises(StoreUnavailable):
        await Epochs(pool, lambda epoch: None).refresh()
