"""The cleanup lets go of what has expired, once, whoever does it and whatever fails meanwhile."""

from __future__ import annotations

import asyncio
import logging
from uuid import UUID

import pytest

from ipld.errors import StoreUnavailable
from storage.content import Content, Owned
from storage.deletion import Deletion
from storage.files import Files
from storage.jobs import DELETE_OBJECT, Jobs, Work, working
from storage.memory_objects import MemoryObjects
from storage.packed import PackedBlocks
from storage.postgres_files import PostgresFiles
from storage.postgres_index import PostgresIndex
from storage.retention import Cleaned, clean_up
from storage.transactions import Pool
from tests.storage.stores import pieces
from tests.storage.test_files import BOB, SOON, Shelf
from tests.storage.test_files import shelf as shelf  # noqa: PLC0414 - a fixture
from tests.storage.test_jobs import none_waiting
from tests.storage.test_jobs import pool as pool  # noqa: PLC0414 - a fixture

ALICE = UUID(int=1)


async def cleaned(content: Content, files: Files, batch: int = 100) -> tuple[int, int]:
    found = [each async for each in clean_up(content, files, batch)]
    assert Cleaned() not in found
    return sum(each.files for each in found), sum(each.objects for each in found)


@pytest.mark.parametrize("batch", [1, 3, 100])
async def test_all_that_has_expired_goes(shelf: Shelf, batch: int) -> None:
    for number in range(7):
        await shelf.add(str(number).encode(), str(number), lifetime=SOON)
    await shelf.add(b"0", "bob's", BOB)
    await shelf.add(b"kept", "kept", lifetime=3600)
    await asyncio.sleep(SOON * 1.5)
    assert await cleaned(shelf.content, shelf.files, batch) == (7, 6)
    assert await cleaned(shelf.content, shelf.files, batch) == (0, 0)
    assert await shelf.names() == ["kept"]
    assert len(shelf.objects.data) == 2
    assert not await shelf.index.unsettled(0)


async def test_several_at_once(pool: Pool) -> None:
    objects, index, files = MemoryObjects(), PostgresIndex(pool), PostgresFiles(pool)
    content = Content(objects, index, PackedBlocks(objects, index))
    for number in range(40):
        owned = Owned(ALICE, str(number), lifetime=SOON)
        await content.add_file(pieces(str(number % 25).encode()), owned)
    await asyncio.sleep(SOON * 1.5)
    done = await asyncio.gather(*(cleaned(content, files, 4) for _ in range(4)))
    assert [sum(each) for each in zip(*done, strict=True)] == [40, 25]
    assert not objects.data


async def test_an_upload_at_the_same_moment(pool: Pool) -> None:
    """Either the file was let go of before, and is new, or it is kept for longer: it can be read."""
    objects, index, files = MemoryObjects(), PostgresIndex(pool), PostgresFiles(pool)
    content = Content(objects, index, PackedBlocks(objects, index))
    for _ in range(25):
        await content.add_file(pieces(b"x"), Owned(ALICE, "n", lifetime=0.001))
        await asyncio.sleep(0.002)
        added, _ = await asyncio.gather(
            content.add_file(pieces(b"x"), Owned(ALICE, "n")), cleaned(content, files)
        )
        assert await PackedBlocks(objects, index).get(added.cid) == b"x"
        assert added.file_id is not None
        kept = await files.find(ALICE, added.file_id)
        assert kept is not None
        assert kept.expires_at is None
        await content.let_go(files.release(ALICE, added.file_id, None))
        assert not objects.data


class Stuck(MemoryObjects):
    """Takes things, and cannot delete them for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0

    async def delete(self, key: str) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise StoreUnavailable("away")
        await super().delete(key)


async def test_what_cannot_be_deleted_is_left_to_a_job(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    objects, index, files = Stuck(), PostgresIndex(pool), PostgresFiles(pool)
    content = Content(objects, index, PackedBlocks(objects, index), later=Jobs(pool).delete_object)
    added = await content.add_file(pieces(b"x"), Owned(ALICE, "n"))
    assert added.file_id is not None
    objects.failures = 4
    assert (await content.let_go(files.release(ALICE, added.file_id, None))).found
    assert len(objects.data) == 1
    assert await index.find(added.cid) is None
    work = Work(Deletion(objects, index).again, 32, 0.01)
    async with working(pool, {DELETE_OBJECT: work}, poll=0.02):
        assert await none_waiting(pool)
    assert (objects.failures, objects.data) == (0, {})
    assert not await index.unsettled(0)


async def test_the_sweep_may_be_faster_than_the_job(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    objects, index = Stuck(), PostgresIndex(pool)
    content = Content(objects, index, PackedBlocks(objects, index), later=Jobs(pool).delete_object)
    added = await content.add_file(pieces(b"x"), Owned(ALICE, "n"))
    objects.failures = 1
    await content.release(ALICE, added.cid)
    assert await content.sweep(3600) == 1
    assert not objects.data
    # The same content again, while the job for the old object still waits.
    again = await content.add_file(pieces(b"x"), Owned(ALICE, "n"))
    async with working(pool, {DELETE_OBJECT: Work(Deletion(objects, index).again, 3, 0.01)}, poll=0.02):
        assert await none_waiting(pool)
    assert await PackedBlocks(objects, index).get(again.cid) == b"x"


async def test_a_queue_that_is_away_is_no_failure(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    async def later(_: str) -> None:
        raise StoreUnavailable("the queue is away")

    objects = Stuck()
    content = Content(objects, shelf.index, PackedBlocks(objects, shelf.index), later=later)
    added = await content.add_file(pieces(b"x"), Owned(ALICE, "n"))
    objects.failures = 1
    assert await content.release(ALICE, added.cid)
    assert "left to the sweep" in caplog.text
    assert await content.sweep(3600) == 1
    assert not objects.data
