"""Migrations are applied once, whoever asks, and never backwards."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from migrations import VERSIONS, SchemaTooNew, migrate, revisions
from tests.database import fresh_database


@pytest_asyncio.fixture
async def empty(postgres: str) -> AsyncIterator[str]:
    async with fresh_database(postgres, "template0") as dsn:
        yield dsn


@pytest.fixture
def two_revisions(tmp_path: Path) -> Path:
    (tmp_path / "20260101_initial_up_one.sql").write_text("CREATE TABLE one (n int)")
    (tmp_path / "20260102_one_up_two.sql").write_text("INSERT INTO one VALUES (1); SELECT pg_sleep(0.1)")
    return tmp_path


async def test_second_run_applies_nothing(empty: str) -> None:
    async with asyncpg.create_pool(empty, min_size=1, max_size=1) as pool:
        assert await migrate(pool) == len(revisions())
        assert await migrate(pool) == 0
        assert await pool.fetchval("SELECT count(*) FROM api_keys") == 0


async def test_concurrent_runners_apply_once(empty: str, two_revisions: Path) -> None:
    async with asyncpg.create_pool(empty, min_size=4, max_size=4) as pool:
        applied = await asyncio.gather(*(migrate(pool, two_revisions) for _ in range(4)))
        assert sorted(applied) == [0, 0, 0, 2]
        assert await pool.fetchval("SELECT count(*) FROM one") == 1


async def test_statement_timeout_of_the_pool_does_not_count(empty: str, two_revisions: Path) -> None:
    (two_revisions / "20260102_one_up_two.sql").write_text("INSERT INTO one VALUES (1); SELECT pg_sleep(2)")
    settings = {"statement_timeout": "1000"}
    async with asyncpg.create_pool(empty, min_size=1, max_size=2, server_settings=settings) as pool:
        assert sorted(await asyncio.gather(*(migrate(pool, two_revisions) for _ in range(2)))) == [0, 2]
        assert await pool.fetchval("SHOW statement_timeout") == "1s"


async def test_newer_schema_is_refused(empty: str, two_revisions: Path) -> None:
    connection = await asyncpg.connect(empty)
    await migrate(connection, two_revisions)
    (two_revisions / "20260102_one_up_two.sql").unlink()
    with pytest.raises(SchemaTooNew, match=r"Downgrade refused.*`two`.*`one`"):
        await migrate(connection, two_revisions)
    await connection.close()


async def test_failure_leaves_nothing_and_no_lock(empty: str, two_revisions: Path) -> None:
    broken = two_revisions / "20260103_two_up_three.sql"
    broken.write_text("CREATE TABLE three (n int); SELECT 1/0")
    connection = await asyncpg.connect(empty)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(connection, two_revisions)
    assert await connection.fetchval("SELECT to_regclass('one')") is None
    broken.unlink()
    other = await asyncpg.connect(empty)
    assert await asyncio.wait_for(migrate(other, two_revisions), 5) == 2
    await other.close()
    await connection.close()


async def test_what_others_put_into_the_bucket_is_marked(empty: str, tmp_path: Path) -> None:
    """And what an older version noted for deletion is forgotten, where it is theirs."""
    for path in VERSIONS.iterdir():
        if not path.name.endswith("_up_theirs.sql"):
            shutil.copy(path, tmp_path)
    name = f"00/{'0' * 32}"
    ours = [f"files/unixfs-v1-2025/{name}", f"files/bafkqaaa/{name}", f"cars/{name}", f"imports/{name}"]
    theirs = ["docs/report.txt", "cars/00/mine.car", f"old/cars/{name}", f"cars/{name}.bak"]
    connection = await asyncpg.connect(empty)
    await migrate(connection, tmp_path)
    await connection.execute(
        "INSERT INTO objects (key, layout, root, size) SELECT unnest($1::text[]), 1, '', 0", ours + theirs
    )
    incoming = [f"incoming/{name}"]
    await connection.execute(
        "INSERT INTO unsettled_objects (key) SELECT unnest($1::text[])", ours + theirs + incoming
    )
    assert await migrate(connection) == 1
    marked = await connection.fetch("SELECT key FROM objects WHERE theirs")
    assert sorted(row[0] for row in marked) == sorted(theirs)
    noted = await connection.fetch("SELECT key FROM unsettled_objects")
    assert sorted(row[0] for row in noted) == sorted(ours + incoming)
    await connection.close()


def test_revisions_form_one_chain(two_revisions: Path) -> None:
    assert revisions(two_revisions) == ["one", "two"]
    (two_revisions / "20260103_one_up_fork.sql").write_text("SELECT 1")
    with pytest.raises(ValueError, match="one chain"):
        revisions(two_revisions)
