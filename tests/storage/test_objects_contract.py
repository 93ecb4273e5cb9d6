"""What every object store promises, and what a folder promises besides."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ipld.errors import StoreFull, StoreUnavailable
from storage.local import LocalObjects
from storage.objects import ObjectNotFound, ObjectStore
from tests.storage.stores import join, store

KEY = "files/unixfs-v1-2025/ab/abcdef"


@pytest.fixture
def objects(every_objects: ObjectStore) -> ObjectStore:
    return every_objects


async def content(objects: ObjectStore, key: str, start: int = 0, stop: int | None = None) -> bytes:
    async with objects.open(key) as source:
        return await join(source.read(start, source.size if stop is None else stop))


async def keys(objects: ObjectStore, prefix: str = "") -> list[str]:
    return [info.key async for info in objects.list(prefix)]


async def test_what_was_written_is_read(objects: ObjectStore) -> None:
    parts = [os.urandom(70_000), b"", bytearray(os.urandom(300_000)), memoryview(b"end")]
    await store(objects, KEY, *parts)  # type: ignore[arg-type]
    assert await content(objects, KEY) == b"".join(bytes(part) for part in parts)
    info = await objects.head(KEY)
    assert (info.key, info.size) == (KEY, 370_003)
    assert info.modified > 1_600_000_000


async def test_the_head_comes_last(objects: ObjectStore) -> None:
    await store(objects, KEY, b"body", head=b"head")
    assert await content(objects, KEY) == b"headbody"


@pytest.mark.parametrize("head", [b"", b"four+"])
async def test_a_head_of_another_length_is_refused(objects: ObjectStore, head: bytes) -> None:
    with pytest.raises(ValueError, match="announced"):
        await store_with(objects, head)
    assert await keys(objects) == []


async def store_with(objects: ObjectStore, head: bytes) -> None:
    async with objects.create(KEY, 4) as writer:
        await writer.commit(head)


async def test_an_empty_object(objects: ObjectStore) -> None:
    await store(objects, KEY)
    assert await content(objects, KEY) == b""
    assert (await objects.head(KEY)).size == 0


async def test_nothing_is_visible_before_the_commit(objects: ObjectStore) -> None:
    async with objects.create(KEY, 2) as writer:
        await writer.write(b"x" * 100_000)
        assert await keys(objects) == []
        with pytest.raises(ObjectNotFound):
            await objects.head(KEY)
        with pytest.raises(ObjectNotFound):
            async with objects.open(KEY):
                pass
        await writer.commit(b"ab")
        assert await keys(objects) == [KEY]
    assert await keys(objects) == [KEY]


async def test_leaving_without_a_commit_leaves_nothing(objects: ObjectStore) -> None:
    async with objects.create(KEY) as writer:
        await writer.write(b"x")
    with pytest.raises(RuntimeError):
        await fail(objects)
    assert await keys(objects) == []


async def fail(objects: ObjectStore) -> None:
    async with objects.create(KEY) as writer:
        await writer.write(b"x")
        raise RuntimeError


async def test_aborting(objects: ObjectStore) -> None:
    async with objects.create(KEY) as writer:
        await writer.write(b"x")
        await writer.abort()
        await writer.abort()
    assert await keys(objects) == []
    async with objects.create(KEY) as writer:
        await writer.commit(b"")
        await writer.abort()
    assert await keys(objects) == [KEY]


async def test_spans(objects: ObjectStore) -> None:
    data = os.urandom(600_000)
    await store(objects, KEY, data)
    async with objects.open(KEY) as source:
        assert source.size == len(data)
        for start, stop in (
            (0, 1),
            (5, 5),
            (599_999, 600_000),
            (65_520, 65_523),
            (1, 599_999),
            (262_143, 262_145),
        ):
            assert await join(source.read(start, stop)) == data[start:stop]


async def test_a_read_can_be_left_early(objects: ObjectStore) -> None:
    await store(objects, KEY, os.urandom(600_000))
    async with objects.open(KEY) as source:
        reading = source.read(0, 600_000)
        assert len(await anext(reading)) > 0
        await reading.aclose()


async def test_two_readers_at_once(objects: ObjectStore) -> None:
    data = os.urandom(700_000)
    await store(objects, KEY, data)
    assert await asyncio.gather(*(content(objects, KEY) for _ in range(5))) == [data] * 5


@pytest.mark.parametrize("span", [(0, 11), (10, 11), (12, 13)])
async def test_a_short_object(objects: ObjectStore, span: tuple[int, int]) -> None:
    await store(objects, KEY, b"0123456789")
    with pytest.raises(ObjectNotFound):
        await content(objects, KEY, *span)


async def test_missing_keys(objects: ObjectStore) -> None:
    with pytest.raises(ObjectNotFound):
        await objects.head("cars/00/none")
    with pytest.raises(ObjectNotFound):
        await content(objects, "cars/00/none")
    await objects.delete("cars/00/none")


async def test_deleting_twice(objects: ObjectStore) -> None:
    await store(objects, KEY, b"x")
    await content(objects, KEY)
    await objects.delete(KEY)
    await objects.delete(KEY)
    with pytest.raises(ObjectNotFound):
        await content(objects, KEY)
    assert await keys(objects) == []


async def test_a_deleted_object_can_be_stored_again(objects: ObjectStore) -> None:
    await store(objects, KEY, b"one")
    assert await content(objects, KEY) == b"one"
    await objects.delete(KEY)
    await store(objects, KEY, b"two!")
    assert await content(objects, KEY) == b"two!"


async def test_listing_is_in_key_order(objects: ObjectStore) -> None:
    names = ["a/b", "a-b/c", "a.b", "a/b-c", "cars/ab/1", "cars/ab/2", "cars/aa/9", "files/x/aa/0", "a0"]
    for name in names:
        await store(objects, name, b"x")
    assert await keys(objects) == sorted(names)
    assert await keys(objects, "cars/") == ["cars/aa/9", "cars/ab/1", "cars/ab/2"]
    assert await keys(objects, "cars/ab/1") == ["cars/ab/1"]
    assert await keys(objects, "a") == sorted(name for name in names if name.startswith("a"))
    assert await keys(objects, "none/") == []


async def test_concurrent_writers(objects: ObjectStore) -> None:
    data = {f"cars/{n % 3}/{n}": os.urandom(100_000 + n) for n in range(20)}
    await asyncio.gather(*(store(objects, key, body[:50_000], body[50_000:]) for key, body in data.items()))
    assert await keys(objects) == sorted(data)
    for key, body in data.items():
        assert await content(objects, key) == body


async def test_a_cancelled_writer_leaves_nothing(objects: ObjectStore) -> None:
    begun = asyncio.Event()

    async def write() -> None:
        async with objects.create(KEY) as writer:
            await writer.write(b"x")
            begun.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(write())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await keys(objects) == []


class TestFolder:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        return tmp_path / "objects"

    @pytest.fixture
    def local(self, root: Path) -> LocalObjects:
        return LocalObjects(root)

    async def test_nothing_stays_in_the_incoming_folder(self, root: Path, local: LocalObjects) -> None:
        await store(local, KEY, b"x")
        async with local.create(KEY) as writer:
            await writer.write(b"x")
        assert list((root / ".incoming").iterdir()) == []

    async def test_what_a_killed_process_left_is_removed(self, root: Path, local: LocalObjects) -> None:
        script = (
            "import asyncio, pathlib, sys\n"
            "from storage.local import LocalObjects\n"
            "async def main():\n"
            "    async with LocalObjects(pathlib.Path(sys.argv[1])).create('cars/x') as writer:\n"
            "        await writer.write(b'left')\n"
            "        print('ready', flush=True)\n"
            "        await asyncio.sleep(60)\n"
            "asyncio.run(main())\n"
        )
        other = subprocess.Popen([sys.executable, "-c", script, str(root)], stdout=subprocess.PIPE)
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"ready\n"
            async with local.create(KEY) as writer:
                await writer.write(b"mine")
                LocalObjects(root)
                assert len(list((root / ".incoming").iterdir())) == 2
                other.kill()
                other.wait()
                LocalObjects(root)
                assert len(list((root / ".incoming").iterdir())) == 1
                await writer.commit(b"")
            assert await content(local, KEY) == b"mine"
        finally:
            other.kill()
            other.wait()
            assert other.stdout is not None
            other.stdout.close()

    async def test_a_start_between_creation_and_lock(
        self, root: Path, local: LocalObjects, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another process takes the new file for an abandoned one: the writer begins anew."""
        import fcntl

        lock, seen = fcntl.flock, []

        def removed_first(descriptor: int, how: int) -> None:
            if not seen:
                seen.append(descriptor)
                for path in (root / ".incoming").iterdir():
                    path.unlink()
            lock(descriptor, how)

        monkeypatch.setattr(fcntl, "flock", removed_first)
        await store(local, KEY, b"kept")
        assert await content(local, KEY) == b"kept"

    async def test_a_full_disk(self, root: Path, local: LocalObjects) -> None:
        """The limit on file sizes stands for the full disk; both are said as one."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            with pytest.raises(StoreFull):
                await store(local, KEY, b"x" * 200_000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert await keys(local) == []
        assert list((root / ".incoming").iterdir()) == []
        await store(local, KEY, b"x" * 200_000)

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
    async def test_no_space(self, local: LocalObjects, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
        def full(*_: object) -> int:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(StoreFull):
            await store(local, KEY, b"x")

    @pytest.mark.parametrize("failing", [1, 2, 3, 4, 5])
    async def test_a_failed_fsync_drops_the_file(
        self, root: Path, local: LocalObjects, monkeypatch: pytest.MonkeyPatch, failing: int
    ) -> None:
        """Whichever it is: of the file, of a directory on the way, of the last one."""
        fsync, calls = os.fsync, []

        def fail_once(descriptor: int) -> None:
            calls.append(descriptor)
            if len(calls) == failing:
                raise OSError(errno.EIO, "Input/output error")
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", fail_once)
        with pytest.raises(StoreUnavailable):
            await store(local, KEY, b"x")
        assert len(calls) == failing, "nothing was synced again"
        assert await keys(local) == []
        assert list((root / ".incoming").iterdir()) == []
        await store(local, KEY, b"again")
        assert await content(local, KEY) == b"again"

    async def test_a_commit_that_is_cancelled_closes_its_descriptor_once(
        self, root: Path, local: LocalObjects, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        syncing, go, fsync, close = threading.Event(), threading.Event(), os.fsync, os.close
        closed: list[str] = []
        failed: list[OSError] = []

        def slow(descriptor: int) -> None:
            syncing.set()
            go.wait(10)
            fsync(descriptor)

        def watched(descriptor: int) -> None:
            try:
                name = os.readlink(f"/proc/self/fd/{descriptor}")
                close(descriptor)
            except OSError as error:
                failed.append(error)
                raise
            # Not the lock files that the database of the test run looks at every other second.
            if name.startswith(str(root)):
                closed.append(name)

        monkeypatch.setattr(os, "fsync", slow)
        monkeypatch.setattr(os, "close", watched)
        task = asyncio.create_task(store(local, KEY, b"x"))
        await asyncio.to_thread(syncing.wait, 10)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.02)
        assert closed == []
        assert not task.done(), "the store is still at work"
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [name for name in closed if os.path.isfile(name)] == [str(root / KEY)]
        assert failed == []

    async def test_a_cancelled_write_ends_before_the_file_is_closed(
        self, root: Path, local: LocalObjects, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        writing, go, pwrite, errors = threading.Event(), threading.Event(), os.pwrite, []

        def slow(descriptor: int, data: bytes, offset: int) -> int:
            writing.set()
            go.wait(10)
            try:
                return pwrite(descriptor, data, offset)
            except OSError as error:
                errors.append(error)
                raise

        monkeypatch.setattr(os, "pwrite", slow)
        task = asyncio.create_task(store(local, KEY, b"x" * 1000))
        await asyncio.to_thread(writing.wait, 10)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.02)
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert list((root / ".incoming").iterdir()) == []
        assert errors == []

    @pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL, errno.EAGAIN, 0])
    async def test_where_the_cache_cannot_be_asked(
        self, local: LocalObjects, monkeypatch: pytest.MonkeyPatch, code: int
    ) -> None:
        """Code 0 is the kernel that says 0 bytes in the middle of a file (Linux 5.9, 5.10)."""
        data, asked = os.urandom(600_000), []

        def refuse(*_: object) -> int:
            asked.append(1)
            if code:
                raise OSError(code, os.strerror(code))
            return 0

        await store(local, KEY, data)
        monkeypatch.setattr(os, "preadv", refuse)
        assert await content(local, KEY) == data
        assert len(asked) == (1 if code in (errno.EOPNOTSUPP, errno.EINVAL) else 3)

    async def test_without_the_advice_of_linux(
        self, local: LocalObjects, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr(os, "posix_fadvise", raising=False)
        monkeypatch.delattr(os, "RWF_NOWAIT", raising=False)
        data = os.urandom(300_000)
        await store(local, KEY, data)
        other = LocalObjects(local._root)
        assert await content(other, KEY) == data
        await other.aclose()

    async def test_a_bad_sector_is_damage(self, local: LocalObjects, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: object) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

        await store(local, KEY, b"x")
        monkeypatch.setattr(os, "preadv", broken)
        monkeypatch.setattr(os, "pread", broken)
        with pytest.raises(ObjectNotFound):
            await content(local, KEY)

    async def test_the_version_follows_the_file(self, root: Path, local: LocalObjects) -> None:
        await store(local, KEY, b"12345")
        async with local.open(KEY) as source:
            first = source.version
        async with local.open(KEY) as source:
            assert source.version == first
        path = root / KEY
        path.write_bytes(b"1234")
        async with local.open(KEY) as source:
            assert source.version != first
            assert await join(source.read(0, 4)) == b"1234"

    async def test_a_file_cut_while_it_is_open(self, root: Path, local: LocalObjects) -> None:
        await store(local, KEY, os.urandom(600_000))
        async with local.open(KEY) as source:
            reading = source.read(0, 600_000)
            await anext(reading)
            os.truncate(root / KEY, 300_000)
            with pytest.raises(ObjectNotFound):
                await join(reading)

    async def test_a_file_replaced_or_deleted_by_another_process(
        self, root: Path, local: LocalObjects
    ) -> None:
        await store(local, KEY, b"old")
        assert await content(local, KEY) == b"old"
        (root / "new").write_bytes(b"new!")
        (root / "new").rename(root / KEY)
        assert await content(local, KEY) == b"new!"
        (root / KEY).unlink()
        with pytest.raises(ObjectNotFound):
            await content(local, KEY)

    @pytest.mark.parametrize("limit", [0, 1, 2])
    async def test_few_descriptors_are_kept_open(self, root: Path, limit: int) -> None:
        local = LocalObjects(root, open_files=limit)
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        for n in range(6):
            await store(local, f"cars/{n}", b"%d" % n)
        async with local.open("cars/0") as first:
            for n in range(6):
                assert await content(local, f"cars/{n}") == b"%d" % n
            assert await join(first.read(0, 1)) == b"0"
        if before:
            assert len(os.listdir("/proc/self/fd")) <= before + limit
        await local.aclose()
        if before:
            assert len(os.listdir("/proc/self/fd")) <= before

    async def test_a_folder_that_refuses(self, root: Path, local: LocalObjects) -> None:
        (root / ".incoming").rmdir()
        with pytest.raises(StoreUnavailable):
            await store(local, KEY, b"x")
