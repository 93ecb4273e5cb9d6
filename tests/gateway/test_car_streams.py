"""CARs out of a folder through the whole gateway: lengths, what breaks them off, and who leaves."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from cache.blocks import CachedBlocks
from cache.memory import MemoryCache
from gateway.small_bodies import SMALL_BYTES
from ipld import car, dag_pb
from ipld.blocks import Block
from ipld.cid import Cid
from storage.content import Content
from storage.local import LocalObjects
from storage.memory_index import MemoryIndex
from storage.packed import PackedBlocks
from tests.gateway.gateways import MIB, Running, running
from tests.ipld.dags import blocks_of, dag_pb_block, raw_leaf

CAR = "application/vnd.ipld.car"
BODY = random.Random(5).randbytes(8 * MIB + 77)


@dataclass
class Folder:
    """A gateway over a folder, and that folder."""

    gate: Running
    root: Path

    def only(self, kind: str) -> Path:
        [path] = [path for path in (self.root / kind).rglob("*") if path.is_file()]
        return path


@asynccontextmanager
async def over(root: Path) -> AsyncIterator[Folder]:
    objects, index = LocalObjects(root), MemoryIndex()
    packed = PackedBlocks(objects, index)
    blocks = CachedBlocks(packed, MemoryCache(8 * MIB))
    async with running(blocks=blocks, content=Content(objects, index, blocks)) as gate:
        yield Folder(gate, root)
    await objects.aclose()


@pytest_asyncio.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Folder]:
    async with over(tmp_path / "objects") as opened:
        yield opened


def archive(blocks: list[Block]) -> bytes:
    frames = [car.frame(block.cid, len(block.data)) + block.data for block in blocks]
    return car.header([blocks[0].cid]) + b"".join(frames)


def many(size: int = 300_000, count: int = 30, seed: int = 0) -> tuple[Cid, bytes]:
    """A CAR in the order of its DAG."""
    leaves = [raw_leaf(random.Random(seed + number).randbytes(size)) for number in range(count)]
    links = [dag_pb.PBLink(leaf.cid, f"{n:03}", size) for n, leaf in enumerate(leaves)]
    root = dag_pb_block(dag_pb.encode(links, b"\x08\x01"))
    return root.cid, archive([root, *leaves])


async def add(folder: Folder, data: bytes) -> str:
    return (await folder.gate.write("POST", "/ipfs/", data, Content_Type=CAR)).cid


def of_file(data: bytes, cid: str) -> bytes:
    link, blocks = blocks_of(data)
    assert str(link.cid) == cid
    return archive([blocks[0], *blocks[1:]])


@pytest.mark.parametrize("size", [10, 300_000])
async def test_an_object_that_is_the_dag_has_a_length(folder: Folder, size: int) -> None:
    root, data = many(size)
    assert (len(data) > SMALL_BYTES) is (size == 300_000)
    target = f"/ipfs/{await add(folder, data)}?format=car"
    head = await folder.gate.ask("HEAD", target)
    for _ in range(2):
        answer = await folder.gate.get(target)
        assert (answer.status, answer.body) == (200, data)
        assert answer.headers["Content-Length"] == head.headers["Content-Length"] == str(len(data))
        assert answer.headers["Accept-Ranges"] == "none"
        assert answer.headers["ETag"].startswith('W/"')
        assert answer.headers["ETag"] == head.headers["ETag"]
        assert "order=dfs; dups=n" in answer.headers["Content-Type"]
    ranged = await folder.gate.get(target, Range="bytes=0-9")
    assert (ranged.status, ranged.body) == (200, data)
    twice = await folder.gate.get(f"{target}&car-dups=y")
    assert twice.body == data, "no block is linked to twice"
    assert (await folder.gate.get(target, If_None_Match=answer.headers["ETag"])).status == 304
    assert root


async def test_blocks_that_are_linked_to_twice(folder: Folder) -> None:
    leaf = raw_leaf(os.urandom(300_000))
    links = [dag_pb.PBLink(leaf.cid, str(n), 300_000) for n in range(9)]
    root = dag_pb_block(dag_pb.encode(links, b"\x08\x01"))
    target = f"/ipfs/{await add(folder, archive([root, leaf]))}?format=car"
    for _ in range(2):
        assert (await folder.gate.get(target)).body == archive([root, leaf])
        twice = await folder.gate.get(f"{target}&car-dups=y")
        assert twice.body == archive([root, *[leaf] * 9])
        assert "Content-Length" not in twice.headers


async def test_along_a_path_the_blocks_of_the_path_come_first(folder: Folder) -> None:
    root, data = many()
    await add(folder, data)
    above = dag_pb_block(dag_pb.encode([dag_pb.PBLink(root, "sub", 9_000_000)], b"\x08\x01"))
    await folder.gate.add_blocks(above)
    answer = await folder.gate.get(f"/ipfs/{above.cid}/sub?format=car")
    expected = archive([Block(root, b""), above])
    frame = car.frame(above.cid, len(above.data)) + above.data
    assert expected.endswith(frame)
    assert answer.body == car.header([root]) + frame + data[len(car.header([root])) :]
    assert "Content-Length" not in answer.headers


@pytest.mark.parametrize("profile", ["unixfs-v1-2025", "unixfs-v0-2015"])
async def test_a_file_in_chunks(folder: Folder, profile: str) -> None:
    """Its spans go around the transport, the chunks that HTTP wants around them."""
    cid = await folder.gate.put("x", BODY, f"?profile={profile}")
    target = f"/ipfs/{cid}?format=car"
    bodies = {(await folder.gate.get(target)).body for _ in range(3)}
    assert len(bodies) == 1
    [body] = bodies
    parser = car.CarParser()
    found = [section.data for section in parser.feed(body)]
    parser.close()
    assert BODY[:1000] in found[1][:1020]
    assert sum(map(len, found)) > len(BODY)
    head = await folder.gate.ask("HEAD", target)
    assert "Content-Length" not in head.headers
    answer = await folder.gate.raw(f"GET {target} HTTP/1.0\r\n\r\n".encode())
    assert answer.partition(b"\r\n\r\n")[2] == body
    # A connection that stays is good for the next request.
    async with folder.gate.session.get(folder.gate.url + target) as first:
        assert await first.read() == body
    assert (await folder.gate.get(f"/ipfs/{cid}")).body == BODY


@pytest.mark.parametrize("what", ["object", "file"])
async def test_a_flipped_bit_breaks_the_connection(folder: Folder, what: str) -> None:
    cid = await (add(folder, many()[1]) if what == "object" else folder.gate.put("x", BODY))
    path = folder.only("imports" if what == "object" else "files")
    flipped = bytearray(path.read_bytes())
    flipped[6 * MIB] ^= 1
    path.write_bytes(flipped)
    for _ in range(2):
        with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientOSError)):
            await folder.gate.get(f"/ipfs/{cid}?format=car")


@pytest.mark.parametrize("what", ["object", "file"])
async def test_what_is_cut_while_it_goes_out_breaks_the_connection(folder: Folder, what: str) -> None:
    large = random.Random(7).randbytes(40 * MIB)
    cid = await (add(folder, many(MIB, 40)[1]) if what == "object" else folder.gate.put("x", large))
    target = f"/ipfs/{cid}?format=car"
    await folder.gate.get(target)
    path = folder.only("imports" if what == "object" else "files")
    reader, writer = await asyncio.open_connection("127.0.0.1", folder.gate.port, limit=65_536)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    got = await reader.readexactly(MIB)
    os.truncate(path, 30 * MIB)
    with pytest.raises(ConnectionResetError):
        while piece := await reader.read(MIB):
            got += piece
    writer.close()
    assert len(got) < 41 * MIB


async def test_what_is_deleted_while_it_goes_out(folder: Folder) -> None:
    """Whoever has begun is cut off, and knows it; whoever comes then gets nothing."""
    _, data = many(MIB, 40)
    cid = await add(folder, data)
    target = f"/ipfs/{cid}?format=car"
    got = bytearray()
    with pytest.raises(aiohttp.ClientPayloadError):
        async with folder.gate.session.get(folder.gate.url + target) as answer:
            got += await answer.content.readexactly(MIB)
            assert (await folder.gate.write("DELETE", f"/ipfs/{cid}")).status == 204
            async for piece in answer.content.iter_any():
                got += piece
    assert data.startswith(got)
    assert (await folder.gate.get(target)).status == 404


async def test_a_client_that_leaves(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    cid = await folder.gate.put("x", random.Random(7).randbytes(40 * MIB))
    _, data = many(MIB, 30)
    other = await add(folder, data)
    for name in (cid, other):
        assert (await folder.gate.ask("HEAD", f"/ipfs/{name}?format=car")).status == 200
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else None
    for target in (f"/ipfs/{cid}?format=car", f"/ipfs/{other}?format=car", f"/ipfs/{cid}"):
        reader, writer = await asyncio.open_connection("127.0.0.1", folder.gate.port, limit=65_536)
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readexactly(MIB)
        writer.transport.abort()
    for _ in range(300):
        lines = [line for line in folder.gate.log.getvalue().splitlines() if "/ipfs/ba" in line]
        # The store keeps both files open.
        if len(lines) == 5 and (before is None or len(os.listdir("/proc/self/fd")) <= before + 2):
            break
        await asyncio.sleep(0.01)
    else:
        pytest.fail("the gateway still sends")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert (await folder.gate.get(f"/ipfs/{other}?format=car")).body == data


async def test_a_slow_reader_gets_it_all(folder: Folder) -> None:
    _, data = many(MIB, 12)
    cid = await add(folder, data)
    file = random.Random(3).randbytes(12 * MIB)
    other = await folder.gate.put("x", file)
    for target, size in ((f"/ipfs/{cid}?format=car", len(data)), (f"/ipfs/{other}?format=car", 12 * MIB)):
        got = 0
        async with folder.gate.session.get(folder.gate.url + target) as answer:
            async for piece in answer.content.iter_chunked(256 * 1024):
                got += len(piece)
                await asyncio.sleep(0.005)
        assert got >= size
