"""The fast lane: the same answer to the byte, and out of the way wherever a request is more than plain."""

from __future__ import annotations

import asyncio

from gateway.context import Limits
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
