"""The fast lane: the same answer to the byte, and out of the way wherever a request is more than plain."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.context import Limits
from gateway.headers import parse_date
from gateway.representation import Representation
from gateway.streaming import SendLimits
from gateway.whole_answer import AT_ONCE_BYTES, _head
from tests.gateway.gateways import Running, running


async def test_both_lanes_give_the_same(gate: Running) -> None:
    root = (await gate.post_form([("a.txt", b"hello\n"), ("site/index.html", b"<p>"), ("list/x", b"")])).cid
    for target in (
        "/a.txt",
        "/a.txt?filename=b.pdf&download=true",
        "/a.txt?format=raw",
        "/site/",
        "/list/",
        "/list",
    ):
        first = await gate.get(f"/ipfs/{root}{target}")
        # A credential, even one of another service, leaves the fast lane.
        slow = await gate.get(f"/ipfs/{root}{target}", Authorization="Basic eDp5")
        fast = await gate.get(f"/ipfs/{root}{target}")
        assert first.comparable() == slow.comparable() == fast.comparable(), target
        assert first.headers["X-Request-Id"] != fast.headers["X-Request-Id"]
        assert "date" in fast.headers
        assert fast.headers["Server"] == "cidgate"


def parts(raw: bytes) -> list[tuple[bytes, dict[bytes, bytes], bytes]]:
    """Status line, headers and body of each answer of a connection."""
    found = []
    while raw:
        head, _, rest = raw.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in lines)
        assert len(headers) == len(lines)
        size = int(headers[b"Content-Length"])
        found.append((status, headers, rest[:size]))
        raw = rest[size:]
    return found


@pytest.mark.parametrize("size", [0, 1, AT_ONCE_BYTES, AT_ONCE_BYTES + 1, 250_000])
async def test_answers_in_one_piece_are_those_of_aiohttp(gate: Running, size: int) -> None:
    """Which makes the heads of connections that end."""
    data = os.urandom(size)
    cid = await gate.put("x", data)
    target = f"/ipfs/{cid}?filename=%C3%BC%22%0A.bin"
    await gate.get(target)
    stays = f"GET {target} HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\n\r\n".encode()
    ends = stays[:-2] + b"Connection: close\r\n\r\n"
    answers = parts(await gate.raw(3 * stays + ends))
    assert [answer[2] for answer in answers] == [data] * 4
    assert [answer[0] for answer in answers] == [b"HTTP/1.1 200 OK"] * 4
    for _, headers, _ in answers[:3]:
        assert abs((parse_date(headers[b"Date"].decode()) or 0) - time.time()) < 10
        assert headers[b"X-Request-Id"] == b"mine"
    assert answers[3][1].pop(b"Connection") == b"close"
    for _, headers, _ in answers:
        del headers[b"Date"]
    assert answers[0] == answers[1] == answers[2] == answers[3]


async def test_connections_that_end_are_told_so(gate: Running) -> None:
    cid = await gate.put("x", b"hello\n")
    await gate.get(f"/ipfs/{cid}")
    for version, connection, answered in (("1.0", "", ""), ("1.0", "keep-alive", "keep-alive")):
        request = f"GET /ipfs/{cid} HTTP/{version}\r\nHost: x\r\nConnection: {connection}\r\n\r\n"
        last = f"GET /ipfs/{cid} HTTP/1.0\r\nHost: x\r\n\r\n"
        answers = parts(await gate.raw((request + last if connection else last).encode()))
        assert answers[0][0] == b"HTTP/1.0 200 OK"
        assert answers[0][1].get(b"Connection", b"").decode() == answered


@pytest.mark.parametrize("size", [AT_ONCE_BYTES, 5 * AT_ONCE_BYTES])
async def test_a_client_that_does_not_read_is_waited_for(gate: Running, size: int) -> None:
    """However many requests it sends before: no more is made than the sockets hold."""
    cid = await gate.put("x", os.urandom(size))
    await gate.get(f"/ipfs/{cid}")
    request = f"GET /ipfs/{cid} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    _, writer = await asyncio.open_connection("127.0.0.1", gate.port, limit=1024)
    try:
        writer.write(2000 * request)
        await asyncio.sleep(0.5)
        assert 0 < gate.log.getvalue().count(" GET ") < 1500
    finally:
        writer.transport.abort()


@asynccontextmanager
async def lazy_client(gate: Running, request: bytes, room: int = 4096) -> AsyncIterator[socket.socket]:
    """A connection that took its requests and reads nothing, with little room for answers."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", gate.port))
        await loop.sock_sendall(client, request)
        async with asyncio.timeout(30):
            while not gate.gateway.traffic.requests:
                await asyncio.sleep(0.01)
        yield client


async def test_a_client_that_never_reads_is_left() -> None:
    async with running(Limits(send=SendLimits(retrieval_timeout=0.8))) as gate:
        cid = await gate.put("x", os.urandom(250_000))
        await gate.get(f"/ipfs/{cid}")
        async with lazy_client(gate, 60 * f"GET /ipfs/{cid} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) as client:
            assert gate.gateway.traffic.requests == 1, "it counts as long as it lasts"
            began = time.monotonic()
            while gate.gateway.traffic.requests:
                await asyncio.sleep(0.02)
            assert 0.5 < time.monotonic() - began < SendLimits().retrieval_timeout
            with pytest.raises(ConnectionResetError):
                while await asyncio.get_running_loop().sock_recv(client, 65536):
                    pass


async def test_a_client_that_reads_slowly_gets_everything() -> None:
    async with running(Limits(send=SendLimits(retrieval_timeout=2.5))) as gate:
        data = os.urandom(250_000)
        cid = await gate.put("x", data)
        await gate.get(f"/ipfs/{cid}")
        head = f"GET /ipfs/{cid} HTTP/1.1\r\nHost: x\r\n"
        stays, ends = f"{head}\r\n", f"{head}Connection: close\r\n\r\n"
        async with lazy_client(gate, (29 * stays + ends).encode(), 256 * 1024) as client:
            stopping = asyncio.create_task(gate.gateway.traffic._idle.wait())
            loop, received, began = asyncio.get_running_loop(), b"", time.monotonic()
            while piece := await loop.sock_recv(client, 100_000):
                received += piece
                await asyncio.sleep(0.05)
            assert time.monotonic() - began > 3, "longer than a client may do nothing"
            assert await stopping
        found = parts(received)
        assert [body for _, _, body in found] == [data] * 30


def head_for(**headers: str) -> bytes:
    return _head(
        Representation(body=b"x", headers={name.replace("_", "-"): text for name, text in headers.items()})
    )


def test_heads_that_are_left_to_aiohttp() -> None:
    assert head_for(X_A="b").startswith(b"HTTP/1.1 200 OK\r\nX-A: b\r\n")
    for bad in ("a\r\nSet-Cookie: x", "a\nb", "\x00", "\x7f"):
        assert head_for(X_A=bad) == b"", "no header can be made of it"
    assert head_for(X_A="b" * 3000)
    assert head_for(X_A="b" * 5000) == b"", "it is not worth the memory"
    assert b"access-control" not in head_for(access_control_allow_origin="*").lower(), "once is enough"
    other = Representation(body=b"x")
    other.wire["Access-Control-Allow-Origin"] = "https://a.example"
    assert _head(other) == b"", "not what all others say"


def test_what_is_kept_for_the_next_request_is_weighed() -> None:
    plain, long = Representation(body=b"x"), Representation(body=b"x", headers={"X-A": "b" * 5000})
    assert long.weight - plain.weight >= 5000
    assert plain.weight >= 2048 + len(_head(plain))


async def test_it_is_written_down(gate: Running) -> None:
    cid = await gate.put("x", b"hello\n")
    for _ in range(3):
        assert (await gate.get(f"/ipfs/{cid}", X_Request_Id="mine")).headers["X-Request-Id"] == "mine"
    await asyncio.sleep(0.3)
    lines = [line.split() for line in gate.log.getvalue().splitlines() if " GET " in line]
    assert [line[1:6] for line in lines] == [["mine", "GET", f"/ipfs/{cid}", "200", "6"]] * 3
    assert lines[-1][8] == "memory"
    metrics = (await gate.get("/metrics")).text
    assert 'ipfs_http_gw_responses_total{code="200"} 3.0' in metrics


async def test_what_was_deleted_is_gone_at_once(gate: Running) -> None:
    cid = await gate.put("x", b"hello\n")
    for _ in range(2):
        assert (await gate.get(f"/ipfs/{cid}")).status == 200
    assert (await gate.write("DELETE", f"/ipfs/{cid}")).status == 204
    assert (await gate.get(f"/ipfs/{cid}")).status == 404


async def test_a_read_that_was_under_way_keeps_nothing_that_was_deleted(gate: Running) -> None:
    cid = await gate.put("x", b"hello\n")
    inner = gate.gateway.blocks.get
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(wanted: object) -> bytes:
        data = await inner(wanted)  # type: ignore[arg-type]
        asked.set()
        await go_on.wait()
        return data

    gate.gateway.blocks.get = slow  # type: ignore[method-assign]
    reading = asyncio.create_task(gate.get(f"/ipfs/{cid}"))
    await asyncio.wait_for(asked.wait(), 5)
    assert (await gate.write("DELETE", f"/ipfs/{cid}")).status == 204
    go_on.set()
    await reading
    gate.gateway.blocks.get = inner  # type: ignore[method-assign]
    assert (await gate.get(f"/ipfs/{cid}")).status == 404


async def test_it_keeps_to_the_limits() -> None:
    async with running(Limits(requests=1)) as gate:
        cid = await gate.put("x", b"hello\n")
        await gate.get(f"/ipfs/{cid}")
        with gate.gateway.traffic.request():
            refused = await gate.get(f"/ipfs/{cid}")
            assert (refused.status, refused.headers["Retry-After"]) == (429, "60")
            assert (await gate.get("/healthz")).status == 200
        gate.gateway.traffic.draining = True
        stopping = await gate.get(f"/ipfs/{cid}")
        assert (stopping.status, stopping.headers["Retry-After"], stopping.headers["Connection"]) == (
            503,
            "5",
            "close",
        )
        ready = await gate.get("/readyz")
        assert (ready.status, ready.json["status"]) == (503, "stopping")


async def test_an_answer_is_never_given_to_who_accepts_something_else(gate: Running) -> None:
    cid = await gate.put("x", b"hello\n")
    head = f"GET /ipfs/{cid} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: */*\r\n"
    both = head + "Accept: application/vnd.ipld.raw\r\n\r\n"
    for request, kind in [(both, b"vnd.ipld.raw"), (head + "\r\n", b"text/plain"), (both, b"vnd.ipld.raw")]:
        assert kind in await gate.raw(request.encode())
