"""A real Redis: a hit when it is well, and never more than a miss when it is not."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from cache.redis import MAX_WRITES, RedisBlocks
from ipld.cid import Cid

SERVER = shutil.which("redis-server")

pytestmark = [
    pytest.mark.needs_redis,
    pytest.mark.skipif(SERVER is None, reason="redis-server is not on PATH"),
]


class Server:
    """A redis-server of our own on a socket in a folder of our own."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        assert SERVER is not None
        command = [
            SERVER,
            "--port",
            "0",
            "--unixsocket",
            str(self.socket),
            "--save",
            "",
            "--dir",
            str(self._folder),
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for _ in range(500):
            if self.socket.exists():
                return
            time.sleep(0.01)
        raise TimeoutError("redis-server did not start")

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self.socket.unlink(missing_ok=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest_asyncio.fixture
async def blocks(server: Server) -> AsyncIterator[RedisBlocks]:
    """Patient: a miss on a slow machine would be no fault."""
    redis = RedisBlocks(server.url, timeout=10, ttl=60, fail_max=3, rest=0.3)
    yield redis
    await redis.aclose()


@pytest_asyncio.fixture
async def hasty(server: Server) -> AsyncIterator[RedisBlocks]:
    """For a Redis that hangs."""
    redis = RedisBlocks(server.url, timeout=1, ttl=60, fail_max=3, rest=0.3)
    yield redis
    await redis.aclose()


async def put(blocks: RedisBlocks, data: bytes) -> Cid:
    cid = Cid.of(data)
    blocks.put(cid, data)
    await asyncio.gather(*blocks._writes)
    return cid


async def test_a_hit(server: Server, blocks: RedisBlocks) -> None:
    data = os.urandom(200_000)
    assert await blocks.get(Cid.of(data)) is None
    cid = await put(blocks, data)
    assert await blocks.get(cid) == data
    assert await blocks.is_up()
    async with Redis.from_url(server.url) as redis:
        [name] = await redis.keys()
        assert 0 < await redis.ttl(name) <= 60
        assert name == b"cidgate:0:" + cid.multihash


async def test_another_epoch(blocks: RedisBlocks) -> None:
    cid = await put(blocks, b"x")
    blocks.epoch = 1
    assert await blocks.get(cid) is None


async def test_wrong_bytes_are_never_served(
    server: Server, blocks: RedisBlocks, caplog: pytest.LogCaptureFixture
) -> None:
    cid = await put(blocks, b"x")
    async with Redis.from_url(server.url) as redis:
        for wrong in (b"y", b"", b"x" * 1000):
            await redis.set(b"cidgate:0:" + cid.multihash, wrong)
            assert await blocks.get(cid) is None
            assert not await redis.exists(b"cidgate:0:" + cid.multihash)
        assert "damaged" in caplog.text
        # Something that is no string, and a CID whose hash nobody here can check.
        await redis.rpush(b"cidgate:0:" + cid.multihash, b"x")
        assert await blocks.get(cid) is None
        unknown = Cid.of_digest(b"d" * 32, code=0x12345)
        await redis.set(b"cidgate:0:" + unknown.multihash, b"x")
        assert await blocks.get(unknown) is None


async def test_a_redis_that_is_gone(server: Server, blocks: RedisBlocks) -> None:
    cid = await put(blocks, b"x")
    server.stop()
    for _ in range(10):
        assert await blocks.get(cid) is None
        await put(blocks, b"x")
    assert not await blocks.is_up()
    asked = counted(blocks)
    for _ in range(100):
        assert await blocks.get(cid) is None
    assert len(asked) < 10, "it is left alone, and now and then looked for"
    server.start()
    await asyncio.sleep(0.35)
    await put(blocks, b"x")
    assert await blocks.get(cid) == b"x"


async def test_a_redis_that_hangs(
    server: Server, hasty: RedisBlocks, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    cid = await put(hasty, b"x")
    server.signal(signal.SIGSTOP)
    try:
        async with asyncio.timeout(30):
            assert await asyncio.gather(*(hasty.get(cid) for _ in range(20))) == [None] * 20
        asked = counted(hasty)
        for _ in range(100):
            assert await hasty.get(cid) is None
        assert len(asked) < 10, "it is left alone, and now and then looked for"
        assert "left alone" in caplog.text
    finally:
        server.signal(signal.SIGCONT)
    await asyncio.sleep(0.35)
    assert await hasty.get(cid) == b"x"
    assert await asyncio.gather(*(hasty.get(cid) for _ in range(20))) == [b"x"] * 20


async def test_few_requests_find_out_whether_a_hanging_redis_is_back(
    server: Server, hasty: RedisBlocks
) -> None:
    cid = await put(hasty, b"x")
    server.signal(signal.SIGSTOP)
    try:
        while hasty._breaker.current_state.name != "OPEN":
            await hasty.get(cid)
        await asyncio.sleep(0.35)
        asked = counted(hasty)
        assert await asyncio.gather(*(hasty.get(cid) for _ in range(50))) == [None] * 50
        assert len(asked) == 1
        # The one that looks leaves early: the next one does it.
        await asyncio.sleep(0.35)
        looking = asyncio.create_task(hasty.get(cid))
        await asyncio.sleep(0.02)
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    finally:
        server.signal(signal.SIGCONT)
    await asyncio.sleep(0.35)
    assert await hasty.get(cid) == b"x"


def counted(blocks: RedisBlocks) -> list[bytes]:
    """The names that are asked for from now on."""
    asked: list[bytes] = []
    get = blocks._get

    async def counting(name: bytes) -> bytes | None:
        asked.append(name)
        return await get(name)

    blocks._get = counting  # type: ignore[method-assign]
    return asked


async def test_replies_never_change_places(blocks: RedisBlocks) -> None:
    """Requests that are cancelled half way must not leave their reply to the next."""
    data = [os.urandom(50_000 + n) for n in range(20)]
    cids = [await put(blocks, one) for one in data]
    for wait in range(40):
        readers = [asyncio.create_task(blocks.get(cid)) for cid in cids]
        for _ in range(wait % 8):
            await asyncio.sleep(0)
        for reader in readers[::2]:
            reader.cancel()
        done = await asyncio.gather(*readers, return_exceptions=True)
        assert done[1::2] == data[1::2]
    for cid, one in zip(cids, data, strict=True):
        assert await blocks.get(cid) == one


async def test_writes_do_not_pile_up(server: Server, hasty: RedisBlocks) -> None:
    server.signal(signal.SIGSTOP)
    try:
        for n in range(3 * MAX_WRITES):
            hasty.put(Cid.of(b"%d" % n), b"%d" % n)
        assert len(hasty._writes) == MAX_WRITES
        await asyncio.gather(*hasty._writes)
        assert not hasty._writes
    finally:
        server.signal(signal.SIGCONT)


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 100, b"$5\r\nab", b"-ERR no\r\n"]
)
async def test_something_else_answers(tmp_path: Path, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(answer)
        writer.close()

    listener = await asyncio.start_unix_server(serve, tmp_path / "other.sock")
    blocks = RedisBlocks(f"unix://{tmp_path / 'other.sock'}", timeout=0.1, ttl=60, fail_max=3, rest=60)
    try:
        for _ in range(5):
            assert await blocks.get(Cid.of(b"x")) is None
            await put(blocks, b"x")
        assert not await blocks.is_up()
    finally:
        await blocks.aclose()
        listener.close()
        await listener.wait_closed()


async def test_a_redis_without_room(server: Server, blocks: RedisBlocks) -> None:
    kept = await put(blocks, b"kept")
    async with Redis.from_url(server.url) as redis:
        await redis.config_set("maxmemory", "1mb")
        await redis.config_set("maxmemory-policy", "noeviction")
    for n in range(20):
        await put(blocks, b"%d" % n * 1000)
    assert await blocks.get(kept) == b"kept", "it can still be read"


async def test_a_host_that_is_not_there() -> None:
    blocks = RedisBlocks("redis://127.0.0.1:1/0", timeout=0.1, ttl=60)
    assert await blocks.get(Cid.of(b"x")) is None
    await put(blocks, b"x")
    assert not await blocks.is_up()
    await blocks.aclose()
