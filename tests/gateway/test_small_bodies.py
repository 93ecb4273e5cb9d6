"""Bodies that are made when they are wanted: nothing is read before, small ones are kept, slow ones flow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import pytest

from gateway.answers import Answers
from gateway.representation import TO_THE_END, Representation
from gateway.small_bodies import SMALL_BYTES, made_later
from gateway.streaming import SendLimits
from ipld.blocks import FileSpan
from ipld.cid import Cid
from ipld.errors import StoreUnavailable
from tests.gateway.gateways import Running, running

LIMITS = SendLimits(retrieval_timeout=1.5)
FILES = [("a.txt", b"one"), ("sub/b.txt", b"two" * 1000), ("sub/c/d.txt", b"three" * 100_000)]


class Source:
    """Counts how often it is opened, and whether it was closed."""

    def __init__(self, *pieces: bytes, pause: float = 0, fault: Exception | None = None) -> None:
        self.pieces, self.pause, self.fault = pieces, pause, fault
        self.opened = self.closed = 0

    async def read(self, _start: int, _stop: int) -> AsyncGenerator[bytes, None]:
        self.opened += 1
        try:
            for piece in self.pieces:
                yield piece
                await asyncio.sleep(self.pause)
            if self.fault:
                raise self.fault
        finally:
            self.closed += 1

    def shown(self) -> Representation:
        return made_later(Representation("x/y", '"e"', read=self.read, accept_ranges=False))


async def made(shown: Representation) -> Representation:
    assert shown.later is not None
    return await shown.later.made(shown, LIMITS)


async def read(shown: Representation) -> bytes:
    assert shown.read is not None
    collected = bytearray()
    async with aclosing(shown.read(0, TO_THE_END)) as pieces:
        async for piece in pieces:
            assert not isinstance(piece, FileSpan)
            collected += piece
    return bytes(collected)


async def test_a_small_body_is_kept_in_place_of_its_making() -> None:
    source, answers = Source(b"ab", b"", b"cd"), Answers(2**20)
    shown = source.shown()
    answers.put(("/x", None), shown, answers.epoch)
    assert source.opened == 0
    body = await made(shown)
    assert (body.body, body.size, body.etag) == (b"abcd", 4, '"e"')
    assert answers.get(("/x", None)) is body
    assert source.closed == 1


async def test_headers_that_were_added_are_sent() -> None:
    half = bytes(SMALL_BYTES // 2)
    for source in (Source(b"ab"), Source(half, half, b"x")):
        shown = replace(source.shown(), headers={"X-Added": "1"})
        assert (await made(shown)).headers == {"X-Added": "1"}


async def test_what_was_deleted_meanwhile_is_not_kept() -> None:
    source, answers = Source(b"ab"), Answers(2**20)
    shown = source.shown()
    answers.put(("/x", None), shown, answers.epoch)
    answers.clear()
    assert (await made(shown)).body == b"ab"
    assert answers.get(("/x", None)) is None


async def test_a_large_body_is_read_once_and_never_kept() -> None:
    half = bytes(SMALL_BYTES // 2)
    source, answers = Source(half, half, b"x", half, b"y"), Answers(2**30)
    shown = source.shown()
    answers.put(("/x", None), shown, answers.epoch)
    large = await made(shown)
    assert (large.body, large.size) == (None, None)
    assert await read(large) == b"".join(source.pieces)
    assert (source.opened, source.closed) == (1, 1)
    assert answers.get(("/x", None)) is shown


async def test_the_largest_that_is_small() -> None:
    assert (await made(Source(bytes(SMALL_BYTES)).shown())).size == SMALL_BYTES
    assert (await made(Source(bytes(SMALL_BYTES), b"x").shown())).size is None


async def test_a_slow_body_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.small_bodies.SMALL_SECONDS", 0.05)
    source = Source(*[b"x"] * 10, pause=0.02)
    slow = await made(source.shown())
    assert slow.body is None
    assert await read(slow) == b"x" * 10
    assert source.opened == 1


async def test_it_is_closed_when_it_cannot_be_made() -> None:
    failing, stalling = Source(b"x", fault=StoreUnavailable("away")), Source(b"x", pause=60)
    with pytest.raises(StoreUnavailable):
        await made(failing.shown())
    with pytest.raises(TimeoutError):
        await made(stalling.shown())
    assert failing.closed == stalling.closed == 1


async def test_headers_that_promise_too_much_are_not_sent_and_not_kept() -> None:
    source, answers = Source(b"ab"), Answers(2**20)

    def instead(_sent: Representation, body: bytes | None) -> Representation | None:
        return Representation("x/y", '"less"', body=body)

    shown = made_later(Representation("x/y", '"e"', read=source.read), instead)
    answers.put(("/x", None), shown, answers.epoch)
    assert ((less := await made(shown)).etag, less.body) == ('"less"', b"ab")
    assert answers.get(("/x", None)) is shown


class Counted:
    """Which blocks a gateway asks for."""

    def __init__(self, gate: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[Cid] = []
        inner = gate.gateway.blocks.get

        async def get(cid: Cid) -> bytes:
            self.asked.append(cid)
            return await inner(cid)

        def refused(*_: object) -> AsyncGenerator[bytes, None]:
            raise AssertionError("leaves were read")

        monkeypatch.setattr(gate.gateway.blocks, "get", get)
        monkeypatch.setattr(gate.gateway.blocks, "stream", refused)
        monkeypatch.setattr(gate.gateway.blocks, "spans", refused)


@pytest.mark.parametrize("format", ["car", "car&dag-scope=entity", "tar", "zip", "dir-json"])
async def test_head_and_304_fetch_no_child(
    gate: Running, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    root = (await gate.post_form(FILES)).cid
    with monkeypatch.context() as patched:
        counted = Counted(gate, patched)
        head = await gate.ask("HEAD", f"/ipfs/{root}?format={format}")
        same = await gate.get(f"/ipfs/{root}?format={format}", If_None_Match=head.headers["ETag"])
        again = await gate.ask("HEAD", f"/ipfs/{root}?format={format}", {"If-None-Match": "*"})
        assert [answer.status for answer in (head, same, again)] == [200, 304, 304]
        assert {str(cid) for cid in counted.asked} == {root}
    got = await gate.get(f"/ipfs/{root}?format={format}")
    assert got.status == 200
    assert got.headers["ETag"] == head.headers["ETag"]
    for name in ("Content-Type", "Cache-Control", "Accept-Ranges"):
        assert got.headers[name] == head.headers[name]


@pytest.mark.parametrize("format", ["car", "tar", "zip", "dir-json"])
async def test_a_small_one_is_read_once(gate: Running, monkeypatch: pytest.MonkeyPatch, format: str) -> None:
    root = (await gate.post_form(FILES)).cid
    first = await gate.get(f"/ipfs/{root}?format={format}")
    assert first.headers["Content-Length"] == str(len(first.body))
    counted = Counted(gate, monkeypatch)
    assert (await gate.get(f"/ipfs/{root}?format={format}")).comparable() == first.comparable()
    head = await gate.ask("HEAD", f"/ipfs/{root}?format={format}")
    assert head.headers["Content-Length"] == str(len(first.body))
    assert not counted.asked


async def test_a_large_archive_is_whole() -> None:
    async with running() as gate:
        files = [(f"{number}", bytes([number]) * 2**20) for number in range(5)]
        root = (await gate.post_form(files)).cid
        for format in ("car", "tar", "zip"):
            first, second = [await gate.get(f"/ipfs/{root}?format={format}") for _ in range(2)]
            assert len(first.body) > 5 * 2**20
            assert first.comparable() == second.comparable()
