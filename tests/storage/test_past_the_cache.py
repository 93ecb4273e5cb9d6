"""Writes past the page cache: the same bytes, whatever the file system and the disk do."""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipld.errors import StoreFull, StoreUnavailable
from storage import local_writer
from storage.local import LocalObjects
from storage.past_the_cache import ALIGNMENT, PastTheCache

KEY = "files/" + "x" * 20
FLAG = getattr(os, "O_DIRECT", 0)


def is_allowed(folder: Path) -> bool:
    """Whether the file system of the folder takes such writes."""
    path = folder / "probe"
    path.touch()
    return PastTheCache(path).write(memoryview(bytes(ALIGNMENT)), 0) == ALIGNMENT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.touch()
    return path


def test_whole_blocks_are_written(tmp_path: Path, path: Path) -> None:
    data = os.urandom(3 * 2**20 + ALIGNMENT + 5)
    way = PastTheCache(path)
    written = way.write(memoryview(data)[1:], ALIGNMENT)
    way.close()
    if is_allowed(tmp_path):
        assert written == 3 * 2**20 + ALIGNMENT
        assert path.read_bytes() == bytes(ALIGNMENT) + data[1 : written + 1]
    else:
        assert written == 0


def test_what_does_not_fit_is_left(path: Path) -> None:
    way = PastTheCache(path)
    assert way.write(memoryview(bytes(ALIGNMENT)), 1) == 0
    assert way.write(memoryview(bytes(ALIGNMENT - 1)), 0) == 0
    way.close()
    assert way.write(memoryview(bytes(ALIGNMENT)), 0) == 0, "it was closed"


@pytest.mark.parametrize("error", [errno.EINVAL, errno.EMFILE, errno.EPERM, errno.ENOMEM])
def test_a_machine_that_refuses(path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    asked = 0

    def refuse(*_: object) -> int:
        nonlocal asked
        asked += 1
        raise OSError(errno.EINVAL if call == "pwrite" else error, "not here")

    for module, call in ((os, "open"), (os, "pwrite"), (mmap, "mmap")):
        with monkeypatch.context() as patched:
            way = PastTheCache(path)
            patched.setattr(module, call, refuse)
            asked = 0
            assert [way.write(memoryview(bytes(ALIGNMENT)), 0) for _ in range(3)] == [0, 0, 0]
            assert asked <= 1, "it is asked once"
    monkeypatch.delattr(os, "O_DIRECT", raising=False)
    assert PastTheCache(path).write(memoryview(bytes(ALIGNMENT)), 0) == 0


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(0, 3 * ALIGNMENT) | st.just(2 * ALIGNMENT), max_size=12), short=st.booleans()
)
async def test_any_sizes_of_writes(
    sizes: list[int], short: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on a disk that takes a part of what it is given."""
    monkeypatch.setattr(local_writer, "CACHED_BYTES", 2 * ALIGNMENT)
    pwrite = os.pwrite
    if short:
        monkeypatch.setattr(os, "pwrite", lambda to, data, at: pwrite(to, data[: max(1, len(data) // 2)], at))
    store = LocalObjects(tmp_path / "objects")
    data = os.urandom(sum(sizes))
    async with store.create(KEY, 10) as writer:
        at = 0
        for size in sizes:
            await writer.write(memoryview(data)[at : at + size])
            at += size
        await writer.commit(b"h" * 10)
    monkeypatch.undo()
    assert (tmp_path / "objects" / KEY).read_bytes() == b"h" * 10 + data


@pytest.mark.parametrize("head", [0, 11])
async def test_a_large_file(tmp_path: Path, head: int) -> None:
    data = os.urandom(2**20)
    store = LocalObjects(tmp_path)
    async with store.create(KEY, head) as writer:
        for _ in range(40):
            await writer.write(data)
        await writer.write(data[:12345])
        await writer.commit(b"h" * head)
    whole = (tmp_path / KEY).read_bytes()
    assert whole == b"h" * head + 40 * data + data[:12345]


@pytest.mark.parametrize(
    ("error", "said"), [(errno.ENOSPC, StoreFull), (errno.EDQUOT, StoreFull), (errno.EIO, StoreUnavailable)]
)
async def test_a_disk_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, said: type[Exception]
) -> None:
    monkeypatch.setattr(local_writer, "CACHED_BYTES", 0)
    pwrite = os.pwrite
    calls = 0

    def fail(to: int, data: bytes, at: int) -> int:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise OSError(error, os.strerror(error))
        return pwrite(to, data, at)

    monkeypatch.setattr(os, "pwrite", fail)
    store = LocalObjects(tmp_path)
    with pytest.raises(said):
        async with store.create(KEY) as writer:
            for _ in range(5):
                await writer.write(bytes(ALIGNMENT))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [
        name
        for name in os.listdir("/proc/self/fd")
        if ".incoming" in os.path.realpath(f"/proc/self/fd/{name}")
    ]
