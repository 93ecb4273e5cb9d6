"""Directories as data, a page at a time."""

from __future__ import annotations

import json

import pytest

from ipld.blocks import Block
from ipld.cid import RAW, Cid
from ipld.unixfs.directory import build_directory
from ipld.unixfs.node import Link
from ipld.unixfs.paging import page_of
from ipld.unixfs.profiles import UNIXFS_V1_2025, Profile
from storage.memory_blocks import MemoryBlocks
from tests.gateway.gateways import Running


class Counting(MemoryBlocks):
    reads = 0

    async def get(self, cid: Cid) -> bytes:
        self.reads += 1
        return await super().get(cid)


async def test_an_entry_says_what_it_is(gate: Running) -> None:
    root = (await gate.post_form([("file", b"12345"), ("sub/inner", b"1"), ("large", b"x" * 2**21)])).cid
    answer = await gate.get(f"/ipfs/{root}?format=dir-json")
    assert answer.headers["Content-Type"].startswith("application/vnd.cidgate.dir+json")
    listing = answer.json
    assert (listing["cid"], listing["cursor"]) == (root, None)
    entries = {entry["name"]: entry for entry in listing["entries"]}  # type: ignore[attr-defined]
    assert {name: (entry["type"], entry["size"]) for name, entry in entries.items()}["file"] == ("file", 5)
    assert (entries["large"]["type"], entries["large"]["size"]) == ("file", 2**21)
    assert entries["sub"]["type"] == "directory"
    same = await gate.get(f"/ipfs/{root}", Accept="application/vnd.cidgate.dir+json")
    assert (same.body, same.status) == (answer.body, 200)
    assert (await gate.get(f"/ipfs/{entries['file']['cid']}?format=dir-json")).status == 406


async def test_an_index_can_be_passed_over(gate: Running) -> None:
    root = (await gate.post_form([("index.html", b"<p>hello"), ("other", b"1")])).cid
    assert (await gate.get(f"/ipfs/{root}/")).body == b"<p>hello"
    listed = await gate.get(f"/ipfs/{root}/?index=false")
    assert "Index of" in listed.text
    assert "other" in listed.text


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "limit=99999999", "cursor=%00", "cursor=a", "cursor=%C3%BC"]
)
async def test_parameters_that_mean_nothing(gate: Running, query: str) -> None:
    root = (await gate.post_form([("a", b"1"), ("b", b"2")])).cid
    assert (await gate.get(f"/ipfs/{root}?format=dir-json&{query}")).status == 400


async def test_pages_over_http_make_the_whole(gate: Running) -> None:
    root = (await gate.post_form([(f"f{number:03}", b"%d" % number) for number in range(25)])).cid
    names, cursor = [], ""
    for _ in range(3):
        page = json.loads((await gate.get(f"/ipfs/{root}?format=dir-json&limit=10&cursor={cursor}")).body)
        names += [entry["name"] for entry in page["entries"]]
        cursor = page["cursor"]
    assert cursor is None
    assert names == [f"f{number:03}" for number in range(25)]


@pytest.mark.parametrize("fanout", [8, 256])
@pytest.mark.parametrize("limit", [1, 7, 1000])
async def test_pages_of_a_sharded_directory(fanout: int, limit: int) -> None:
    profile = Profile("sharded", 1, raw_leaves=True, chunk_size=10, width=3, shard_threshold=1, fanout=fanout)
    leaf = Block(Cid.of(b"x", RAW), b"x")
    blocks = MemoryBlocks(made := build_directory([Link(f"é{n}", leaf.cid, 1) for n in range(300)], profile))
    names: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page, cursor = await page_of(blocks, made[-1].cid, cursor, limit)
        names += [entry.name for entry in page]
    assert len(names) == 300
    assert len(set(names)) == 300


async def test_any_page_of_a_huge_directory_is_cheap() -> None:
    leaf = Block(Cid.of(b"x", RAW), b"x")
    made = build_directory([Link(f"file-{n:06}", leaf.cid, 1) for n in range(100_000)], UNIXFS_V1_2025)
    blocks = Counting(made)
    assert len(made) > 20_000
    page, cursor = await page_of(blocks, made[-1].cid, "", 1000)
    assert len(page) == 1000
    assert blocks.reads < len(made) / 50
    for _ in range(3):
        blocks.reads = 0
        assert cursor is not None
        page, cursor = await page_of(blocks, made[-1].cid, cursor, 1000)
        assert len(page) == 1000
        assert blocks.reads < len(made) / 50
