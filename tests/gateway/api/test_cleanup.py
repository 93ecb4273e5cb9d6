"""The daily cleanup in whole gateways over one database, and by hand."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from config.settings import Settings
from gateway.context import Gateway
from gateway.wiring import open_gateway
from ipld.blocks import Buffer
from storage.content import Added, Content, Owned
from tests.gateway.processes import command

ALICE = UUID(int=1)
SOON = 0.05


def settings_of(database: str, data: Path, **more: str) -> Settings:
    return Settings.from_env({"DATABASE_URL": database, "DATA_DIR": str(data), **more})


async def body(data: bytes) -> AsyncIterator[Buffer]:
    yield data


async def add(gateway: Gateway, data: bytes, name: str, lifetime: float | None) -> Added:
    return await gateway.content.add_file(body(data), Owned(ALICE, name, lifetime=lifetime))


@pytest_asyncio.fixture
async def connection(database: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    opened = await asyncpg.connect(database)
    yield opened
    await opened.close()


async def test_several_gateways_do_it_once(
    database: str, tmp_path: Path, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    settings = settings_of(database, tmp_path, CLEANUP_TIME=f"{hour_ago:%H:%M}", UPLOAD_LOG_RETENTION="1h")
    await connection.execute(
        "INSERT INTO upload_log (at, action, outcome, owner, client) VALUES"
        " (now() - interval '61 minutes', 'upload', 'done', $1, ''), (now(), 'upload', 'done', $1, '')",
        ALICE,
    )
    async with AsyncExitStack() as stack:
        gateways = [await stack.enter_async_context(open_gateway(settings)) for _ in range(3)]
        old = await add(gateways[0], b"old" * 100, "old", SOON)
        await add(gateways[0], b"kept" * 100, "kept", None)
        assert await gateways[1].blocks.get(old.cid) == b"old" * 100
        await asyncio.sleep(SOON * 1.5)
        for gateway in gateways:
            await stack.enter_async_context(gateway.jobs())
        async with asyncio.timeout(60):
            while not await connection.fetchval("SELECT count(*) FROM cleanups WHERE ended_at IS NOT NULL"):
                await asyncio.sleep(0.05)
        assert await connection.fetchval("SELECT array_agg(name) FROM uploads") == ["kept"]
        row = await connection.fetchrow("SELECT files, objects FROM cleanups")
        assert tuple(row) == (1, 1)
        actions = await connection.fetch("SELECT action, client FROM upload_log ORDER BY id")
        assert [tuple(each) for each in actions] == [("upload", ""), ("expire", "cleanup")]
        assert sum(b"cidgate_expired_files_total 1.0" in each.metrics.render() for each in gateways) == 1
    stored = [name for _, _, names in os.walk(tmp_path / "objects") for name in names]
    assert len(stored) == 1


async def test_a_command_removes_nothing_by_the_way(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep is for processes that serve: what only looks must not delete."""
    swept = asyncio.Event()

    async def sweep(self: Content, older_than: float) -> int:
        swept.set()
        return 0

    monkeypatch.setattr(Content, "sweep", sweep)
    async with open_gateway(settings_of(database, tmp_path)) as gateway:
        await asyncio.sleep(0.2)
        assert not swept.is_set()
        async with gateway.jobs(), asyncio.timeout(60):
            await swept.wait()


async def test_by_hand(database: str, tmp_path: Path) -> None:
    async with open_gateway(settings_of(database, tmp_path)) as gateway:
        old = await add(gateway, b"old", "o\x1bld", SOON)
        await add(gateway, b"shared", "shared", SOON)
        await add(gateway, b"shared", "kept", None)
    await asyncio.sleep(SOON * 1.5)
    shown = await asyncio.to_thread(command, tmp_path, "cleanup", "--dry-run", DATABASE_URL=database)
    assert shown.returncode == 0, shown.stderr
    first, second = shown.stdout.splitlines()
    assert first.endswith(f"{old.cid} 3 {ALICE} o\N{REPLACEMENT CHARACTER}ld")
    assert second.endswith("shared")
    assert "2 files would be let go of; 1 objects that nobody else holds would go (3 B)." in shown.stderr
    done = await asyncio.to_thread(command, tmp_path, "cleanup", DATABASE_URL=database)
    assert "2 files were let go of; 1 objects" in done.stderr
    again = await asyncio.to_thread(command, tmp_path, "cleanup", "--dry-run", DATABASE_URL=database)
    assert (again.stdout, again.returncode) == ("", 0)


async def test_a_key_whose_uploads_expire(database: str, tmp_path: Path) -> None:
    made = await asyncio.to_thread(
        command, tmp_path, "keys", "create", "ci", "--uploads-expire-in", "30d", DATABASE_URL=database
    )
    assert made.stdout.startswith("cidgate_"), made.stderr
    listed = await asyncio.to_thread(command, tmp_path, "keys", "list", DATABASE_URL=database)
    assert "for 720h" in listed.stdout
    wrong = await asyncio.to_thread(
        command, tmp_path, "keys", "create", "ci", "--uploads-expire-in", "0", DATABASE_URL=database
    )
    assert wrong.returncode == 2
    assert "from 1 second" in wrong.stderr
