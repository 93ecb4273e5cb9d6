"""`?format=dir-json`: what the children's own blocks say, and what happens where they say nothing."""

from __future__ import annotations

import gc
import json

import pytest

from gateway.formats.dir_json import represent_dir_json
from gateway.names import NoNames
from gateway.negotiation import Format, Wanted
from gateway.representation import Representation
from gateway.request import ContentRequest
from ipld import dag_pb
from ipld.blocks import Block
from ipld.cid import DAG_PB, Cid
from ipld.errors import StoreUnavailable
from ipld.paths import ContentPath, resolve
from ipld.unixfs.node import Kind, encode_data
from storage.memory_blocks import MemoryBlocks
from tests.ipld.dags import dag_pb_block, file_message, raw_leaf, wrapped_leaf


def directory(*children: Block) -> Block:
    links = [dag_pb.PBLink(child.cid, f"{place:05}", 1) for place, child in enumerate(children)]
    return dag_pb_block(dag_pb.encode(links, encode_data(Kind.DIRECTORY)))


async def listed(blocks: MemoryBlocks, root: Block, limit: int = 1000) -> Representation:
    path = ContentPath.parse(f"/ipfs/{root.cid}")
    wanted = ContentRequest(
        path=path, wanted=Wanted(Format.DIR_JSON), raw_path=str(path), query="", limit=limit
    )
    return await represent_dir_json(blocks, wanted, await resolve(NoNames(), blocks, path))


def types(answer: Representation) -> list[str | None]:
    return [entry["type"] for entry in json.loads(answer.body or b"")["entries"]]


async def test_a_child_that_is_broken_or_missing_does_not_hide_the_others() -> None:
    broken = dag_pb_block(dag_pb.encode([], file_message([], b"abc", filesize=99)))
    nothing = dag_pb_block(dag_pb.encode([], None))
    children = [broken, nothing, wrapped_leaf(b"x"), raw_leaf(b"y"), directory()]
    root = directory(*children)
    whole = await listed(MemoryBlocks([root, *children]), root)
    assert types(whole) == ["dag-pb", "dag-pb", "file", "file", "directory"]
    assert "immutable" in whole.headers["Cache-Control"]
    lacking = await listed(MemoryBlocks([root, *children[:2], *children[3:]]), root)
    assert types(lacking) == ["dag-pb", "dag-pb", None, "file", "directory"]
    assert lacking.headers["Cache-Control"] == "no-cache"
    assert lacking.etag != whole.etag


async def test_a_store_that_is_away_is_no_empty_answer() -> None:
    child = wrapped_leaf(b"x")
    root = directory(child)

    class Away(MemoryBlocks):
        async def get(self, cid: Cid) -> bytes:
            if cid == child.cid:
                raise StoreUnavailable("away")
            return await super().get(cid)

    with pytest.raises(StoreUnavailable):
        await listed(Away([root, child]), root)


async def test_a_page_does_not_hold_the_blocks_of_its_children() -> None:
    held = most = 0

    class Noticed(bytes):
        def __del__(self) -> None:
            nonlocal held
            held -= 1

    class Making(MemoryBlocks):
        async def get(self, cid: Cid) -> bytes:
            nonlocal held, most
            if cid == root.cid:
                return root.data
            held += 1
            most = max(most, held)
            return Noticed(wrapped_leaf(b"z").data)

    children = [Block(Cid.of(b"%d" % number, DAG_PB), b"") for number in range(200)]
    root = directory(*children)
    answer = await listed(Making(), root)
    assert types(answer) == ["file"] * 200
    gc.collect()
    assert held == 0
    assert most <= 40


async def test_equal_children_are_looked_at_once() -> None:
    child = wrapped_leaf(b"x")
    root = directory(*[child] * 100)

    class Counting(MemoryBlocks):
        asked = 0

        async def get(self, cid: Cid) -> bytes:
            self.asked += 1
            return await super().get(cid)

    blocks = Counting([root, child])
    assert types(await listed(blocks, root)) == ["file"] * 100
    assert blocks.asked <= 3
