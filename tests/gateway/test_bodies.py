"""Bodies that are too large, too slow, cut short, or not to be sent at all: over raw sockets."""

from __future__ import annotations

import asyncio
import socket
import struct
import time

import pytest

from gateway.context import Limits
from tests.gateway.gateways import MIB, Running, running


async def converse(gate: Running, head: str, seconds: float = 30) -> bytes:
    """What comes back to headers alone, with a body announced that is never sent."""
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
        try:
            writer.write(head.replace("\n", "\r\n").encode())
            return await reader.readuntil(b"\r\n\r\n")
        finally:
            writer.close()


def head(key: str, *more: str, target: str = "/ipfs/x", length: object = 10) -> str:
    lines = [
        f"PUT {target} HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {key}",
        f"Content-Length: {length}",
        *more,
    ]
    return "\n".join(lines) + "\n\n"


@pytest.mark.parametrize("target", ["/ipfs/x", "/ipfs/bafkqaaa", "/ipfs/bafkqaaa/x", "/nowhere", "/healthz"])
async def test_no_byte_is_asked_for_without_a_key(gate: Running, target: str) -> None:
    answer = await converse(gate, head("cidgate_wrong", "Expect: 100-continue", target=target))
    assert answer.startswith(b"HTTP/1.1 401 "), answer
    assert b"connection: close" in answer.lower()
    await asyncio.sleep(0.3)
    assert f" PUT {target} 401 " in gate.log.getvalue()


async def test_nor_where_the_length_or_the_type_is_refused() -> None:
    async with running(Limits(upload_bytes=1000, uploads=1)) as gate:
        for more, status in [
            (["Expect: 100-continue"], b"413"),
            (["Expect: 100-continue", "Content-Encoding: gzip"], b"413"),
        ]:
            answer = await converse(gate, head(gate.key, *more, length=1001))
            assert answer.startswith(b"HTTP/1.1 " + status), answer
        assert (await converse(gate, head(gate.key, "Expect: something"))).startswith(b"HTTP/1.1 417")
        answer = await converse(gate, head(gate.key, "Expect: 100-continue", "Content-Encoding: gzip"))
        assert answer.startswith(b"HTTP/1.1 415"), answer
        with gate.gateway.traffic.upload():
            answer = await converse(gate, head(gate.key, "Expect: 100-continue"))
            assert answer.startswith(b"HTTP/1.1 429"), answer
        assert await gate.nothing_stored()


async def test_a_good_upload_is_asked_for(gate: Running) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    writer.write(head(gate.key, "Expect: 100-continue").replace("\n", "\r\n").encode())
    async with asyncio.timeout(30):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"0123456789")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201 ")
    writer.close()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("form", [False, True])
async def test_a_body_over_the_limit(chunked: bool, form: bool) -> None:
    async with running(Limits(upload_bytes=2 * MIB)) as gate:
        start = b'--B\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n' if form else b""
        body = start + bytes(3 * MIB)

        async def chunks() -> object:
            for at in range(0, len(body), 100_000):
                yield body[at : at + 100_000]

        kind = "multipart/form-data; boundary=B" if form else "text/plain"
        answer = await gate.write("POST", "/ipfs/", chunks() if chunked else body, Content_Type=kind)
        assert (answer.status, answer.reason) == (413, "PAYLOAD_TOO_LARGE")
        assert await gate.nothing_stored()
        exact = await gate.write("POST", "/ipfs/", bytes(2 * MIB))
        assert exact.status == 201


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("form", [False, True])
@pytest.mark.parametrize("reset", [False, True])
async def test_a_client_that_leaves_half_way(gate: Running, chunked: bool, form: bool, reset: bool) -> None:
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {4 * MIB}"
    kind = "multipart/form-data; boundary=B" if form else "text/plain"
    lines = [
        "POST /ipfs/ HTTP/1.1",
        "Host: x",
        f"X-API-Key: {gate.key}",
        framing,
        f"Content-Type: {kind}",
        "",
        "",
    ]
    start = b'--B\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n' if form else b""
    body = start + bytes(2 * MIB)
    _, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    writer.write("\r\n".join(lines).encode() + (b"%x\r\n" % len(body) if chunked else b"") + body)
    await writer.drain()
    for _ in range(200):
        if gate.gateway.metrics.received._value.get() >= MIB:
            break
        await asyncio.sleep(0.01)
    assert gate.gateway.traffic.uploads == 1
    if reset:
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()
    assert await gate.nothing_stored()
    assert gate.gateway.traffic.uploads == 0
    assert gate.gateway.traffic.requests == 0


@pytest.mark.parametrize("start", [b"", b"123", b"--B\r\nContent-Disp"])
async def test_a_client_that_falls_silent(start: bytes) -> None:
    async with running(Limits(upload_idle_seconds=0.3)) as gate:
        kind = "multipart/form-data; boundary=B" if start.startswith(b"--") else "text/plain"
        lines = ["POST /ipfs/ HTTP/1.1", "Host: x", f"X-API-Key: {gate.key}", "Content-Length: 100"]
        request = "\r\n".join([*lines, f"Content-Type: {kind}", "", ""]).encode() + start
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
        writer.write(request)
        began = time.monotonic()
        # The idle time of the default would be longer.
        async with asyncio.timeout(Limits().upload_idle_seconds / 2):
            answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 408 "), answer
        assert time.monotonic() - began > 0.2
        assert b"connection: close" in answer.lower()
        writer.close()
        assert await gate.nothing_stored()


async def test_a_client_that_takes_for_ever() -> None:
    async with running(Limits(upload_idle_seconds=5, upload_seconds=0.4)) as gate:

        async def drops() -> object:
            for _ in range(100):
                yield b"x"
                await asyncio.sleep(0.05)

        answer = await gate.write("PUT", "/ipfs/x", drops())
        assert (answer.status, answer.reason) == (408, "REQUEST_TIMEOUT")


async def test_too_many_uploads_at_once() -> None:
    async with running(Limits(uploads=1)) as gate:
        with gate.gateway.traffic.upload():
            answer = await gate.write("PUT", "/ipfs/x", b"x")
            assert (answer.status, answer.reason) == (429, "TOO_MANY_REQUESTS")
            assert int(answer.headers["Retry-After"]) > 0
        assert (await gate.write("PUT", "/ipfs/x", b"x")).status == 201


async def test_a_chunk_that_is_none_is_a_bad_request(gate: Running) -> None:
    lines = [
        "PUT /ipfs/x HTTP/1.1",
        "Host: x",
        f"X-API-Key: {gate.key}",
        "Transfer-Encoding: chunked",
        "",
        "zz\r\n",
    ]
    answer = await gate.raw("\r\n".join(lines).encode())
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400")), answer
    assert await gate.nothing_stored()
