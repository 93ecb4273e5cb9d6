"""Bodies of bytes and spans of files by turns, which go around the transport from the first span on."""

from __future__ import annotations

import asyncio
import mmap
import os
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from gateway import sendfile
from gateway.representation import Representation, send
from gateway.sendfile import HELD_BYTES
from gateway.streaming import SendLimits
from ipld.blocks import Buffer, FileSpan, Piece

Client = TestClient[web.Request, web.Application]
# Bytes to be sent as they are, or where they begin and end in the file.
Part = bytes | tuple[int, int]

FILE = random.Random(9).randbytes(3_000_000)


class Lying:
    """A body in parts, some of which lie in a file."""

    def __init__(self, path: Path, parts: Sequence[Part]) -> None:
        path.write_bytes(FILE)
        self.path, self.parts = path, parts
        self.expected = b"".join(
            FILE[part[0] : part[1]] if isinstance(part, tuple) else part for part in parts
        )

    async def read(self, _start: int, _stop: int) -> AsyncGenerator[Piece, None]:
        descriptor = os.open(self.path, os.O_RDONLY)

        async def read(start: int, stop: int) -> AsyncGenerator[Buffer, None]:
            yield os.pread(descriptor, stop - start, start)

        try:
            for part in self.parts:
                yield FileSpan(descriptor, *part, read) if isinstance(part, tuple) else part
                await asyncio.sleep(0)
        finally:
            os.close(descriptor)


@asynccontextmanager
async def served(
    aiohttp_client: Callable[[web.Application], Awaitable[Client]], shown: Representation
) -> AsyncIterator[Client]:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await send(request, shown, SendLimits())

    app = web.Application()
    app.router.add_get("/x", handler)
    yield await aiohttp_client(app)


SHAPES: list[list[Part]] = [
    [(0, 3_000_000)],
    [
        b"head",
        (0, 1_000_000),
        b"mid",
        (1_000_000, 1_000_001),
        b"m" * 100_000,
        b"",
        (5, 5),
        (7, 2_000_000),
        b"end",
    ],
    [(10, 400_000), b"a" * HELD_BYTES, b"b" * (HELD_BYTES + 1), b"c", b"d" * 1_000_000],
    [b"x" * 400_000, *[part for n in range(200) for part in (b"frame %d" % n, (n * 1000, n * 1000 + 999))]],
]


@pytest.mark.parametrize("parts", SHAPES)
@pytest.mark.parametrize("has_length", [True, False])
@pytest.mark.parametrize("is_cold", [False, True])
async def test_every_byte_in_its_place(
    aiohttp_client: object, tmp_path: Path, parts: list[Part], has_length: bool, is_cold: bool
) -> None:
    body = Lying(tmp_path / "f", parts)
    shown = Representation("x/y", size=len(body.expected) if has_length else None, read=body.read)
    async with served(aiohttp_client, shown) as client:  # type: ignore[arg-type]
        for _ in range(2):
            if is_cold:
                with body.path.open("rb+") as file:
                    os.fsync(file.fileno())
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            async with client.get("/x") as got:
                assert await got.read() == body.expected
                assert ("Content-Length" in got.headers) is has_length
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(b"GET /x HTTP/1.0\r\n\r\n")
        assert (await reader.read()).partition(b"\r\n\r\n")[2] == body.expected
        writer.close()


@pytest.mark.parametrize("parts", SHAPES)
@pytest.mark.parametrize("by", [-1, 1, -100, 100])
async def test_another_length_than_was_said_breaks_the_connection(
    aiohttp_client: object, tmp_path: Path, parts: list[Part], by: int
) -> None:
    body = Lying(tmp_path / "f", parts)
    said = len(body.expected) + by
    async with served(aiohttp_client, Representation("x/y", size=said, read=body.read)) as client:  # type: ignore[arg-type]
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        got = await read_until_reset(reader)
        assert len(got.partition(b"\r\n\r\n")[2]) < said
        writer.close()


@pytest.mark.parametrize("has_length", [True, False])
async def test_a_file_that_is_shorter_breaks_the_connection(
    aiohttp_client: object, tmp_path: Path, has_length: bool
) -> None:
    body = Lying(tmp_path / "f", [b"head", (0, 2_000_000), b"mid", (2_000_000, 3_000_000), b"end"])
    os.truncate(body.path, 2_500_000)
    shown = Representation("x/y", size=len(body.expected) if has_length else None, read=body.read)
    async with served(aiohttp_client, shown) as client:  # type: ignore[arg-type]
        with pytest.raises(aiohttp.ClientError):
            async with client.get("/x") as got:
                await got.read()


async def test_a_file_that_is_cut_while_it_is_mapped(
    aiohttp_client: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever touches such a mapping gets a signal; the kernel, which reads it here, an error."""
    body = Lying(tmp_path / "f", [b"head", (0, 3_000_000)])

    class Cut(mmap.mmap):
        def __init__(self, *_: object, **__: object) -> None:
            os.truncate(body.path, 100_000)

    monkeypatch.setattr(sendfile.mmap, "mmap", Cut)
    async with served(aiohttp_client, Representation("x/y", read=body.read)) as client:  # type: ignore[arg-type]
        with pytest.raises(aiohttp.ClientError):
            async with client.get("/x") as got:
                await got.read()


async def test_to_other_machines_nothing_is_copied(
    aiohttp_client: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sendfile, "_is_loopback", lambda _: False)
    monkeypatch.setattr(sendfile, "_send_mapped", None)
    for number, parts in enumerate(SHAPES):
        body = Lying(tmp_path / f"{number}", parts)
        shown = Representation("x/y", read=body.read)
        async with served(aiohttp_client, shown) as client, client.get("/x") as got:  # type: ignore[arg-type]
            assert await got.read() == body.expected


async def read_until_reset(reader: asyncio.StreamReader) -> bytes:
    got = bytearray()
    with pytest.raises(ConnectionResetError):
        while piece := await reader.read(65_536):
            got += piece
    return bytes(got)
