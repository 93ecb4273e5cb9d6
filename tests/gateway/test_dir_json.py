"""`?format=dir-json`: a directory as data, a page at a time, and what the children's own blocks say."""

from __future__ import annotations

import gc
import json
from contextlib import aclosing

import pytest

from gateway.formats.dir_json import AHEAD, GROUP, represent_dir_json
from gateway.negotiation import Format, Wanted
from gateway.representation import TO_THE_END, Representation
from gateway.request import ContentRequest
from gateway.streaming import DEFAULT_LIMITS
from ipld import dag_pb
from ipld.blocks import Block
from ipld.cid import DAG_PB, Cid
from ipld.errors import StoreUnavailable, WrongKind
from ipld.paths import ContentPath, resolve
from ipld.unixfs.paging import InvalidCursor
from naming.names import NoNames
from storage.memory_blocks import MemoryBlocks
from tests.gateway.gateways import Running
from tests.ipld.dags import Watched, dag_pb_block, directory, file_message, raw_leaf, wrapped_leaf


def numbered(*children: Block) -> Block:
    return directory(*((f"{place:05}", child) for place, child in enumerate(children)))


async def promised(blocks: MemoryBlocks, root: Block, limit: int = 1000, cursor: str = "") -> Representation:
    """What HEAD is answered from."""
    path = ContentPath.parse(f"/ipfs/{root.cid}")
    wanted = ContentRequest(
        path=path,
        wanted=Wanted(Format.DIR_JSON),
        raw_path=str(path),
        query="",
        limit=str(limit),
        cursor=cursor,
    )
    return await represent_dir_json(blocks, wanted, await resolve(NoNames(), blocks, path))


async def listed(blocks: MemoryBlocks, root: Block, limit: int = 1000) -> Representation:
    """What GET is answered from."""
    shown = await promised(blocks, root, limit)
    assert shown.later is not None
    return await shown.later.made(shown, DEFAULT_LIMITS)


def types(answer: Representation) -> list[str | None]:
    return [entry["type"] for entry in json.loads(answer.body or b"")["entries"]]


async def test_an_entry_says_what_it_is(gate: Running) -> None:
    root = (await gate.post_form([("file", b"12345"), ("sub/inner", b"1"), ("large", b"x" * 2**21)])).cid
    answer = await gate.get(f"/ipfs/{root}?format=dir-json")
    assert answer.headers["Content-Type"].startswith("application/vnd.cidgate.dir+json")
    listing = answer.json
    assert list(listing) == ["cid", "path", "entries", "cursor"]
    assert (listing["cid"], listing["path"], listing["cursor"]) == (root, f"/ipfs/{root}", None)
    entries = {entry["name"]: entry for entry in listing["entries"]}  # type: ignore[attr-defined]
    assert list(entries["file"]) == ["name", "cid", "size", "type", "mode", "mtime"]
    assert (entries["file"]["type"], entries["file"]["size"]) == ("file", 5)
    assert (entries["large"]["type"], entries["large"]["size"]) == ("file", 2**21)
    assert entries["sub"]["type"] == "directory"
    same = await gate.get(f"/ipfs/{root}", Accept="application/vnd.cidgate.dir+json")
    assert (same.body, same.status) == (answer.body, 200)
    assert (await gate.get(f"/ipfs/{entries['file']['cid']}?format=dir-json")).status == 406


async def test_modes_and_times() -> None:
    mtime = b"\x42\x0b\x08\x80\xe2\xcf\xaa\x06\x15" + (500_000_000).to_bytes(4, "little")
    child = dag_pb_block(dag_pb.encode([], file_message([], b"abc") + b"\x38\xed\x03" + mtime))
    answer = await listed(MemoryBlocks([root := numbered(child), child]), root)
    (entry,) = json.loads(answer.body or b"")["entries"]
    assert (entry["size"], entry["mode"], entry["mtime"]) == (3, "0755", 1_700_000_000.5)


async def test_an_index_can_be_passed_over(gate: Running) -> None:
    root = (await gate.post_form([("index.html", b"<p>hello"), ("other", b"1")])).cid
    assert (await gate.get(f"/ipfs/{root}/")).body == b"<p>hello"
    listed = await gate.get(f"/ipfs/{root}/?index=false")
    assert "Index of" in listed.text
    assert "other" in listed.text


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "limit=99999999", "cursor=%00", "cursor=a", "cursor=%C3%BC"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_parameters_that_mean_nothing(gate: Running, method: str, query: str) -> None:
    root = (await gate.post_form([("a", b"1"), ("b", b"2")])).cid
    assert (await gate.ask(method, f"/ipfs/{root}?format=dir-json&{query}")).status == 400


async def test_pages_over_http_make_the_whole(gate: Running) -> None:
    root = (await gate.post_form([(f"f{number:03}", b"%d" % number) for number in range(25)])).cid
    names, cursor = [], ""
    for _ in range(3):
        page = json.loads((await gate.get(f"/ipfs/{root}?format=dir-json&limit=10&cursor={cursor}")).body)
        names += [entry["name"] for entry in page["entries"]]
        cursor = page["cursor"]
    assert cursor is None
    assert names == [f"f{number:03}" for number in range(25)]


@pytest.mark.parametrize("count", [0, 1, GROUP - 1, GROUP, GROUP + 1, 3 * GROUP])
async def test_the_text_is_one_whole(count: int) -> None:
    leaf = raw_leaf(b"x")
    root = numbered(*[leaf] * count)
    page = json.loads((await listed(MemoryBlocks([root]), root, limit=10_000)).body or b"")
    assert [entry["name"] for entry in page["entries"]] == [f"{place:05}" for place in range(count)]
    assert page["cursor"] is None
    if count > 1:
        page = json.loads((await listed(MemoryBlocks([root]), root, limit=count - 1)).body or b"")
        assert (len(page["entries"]), isinstance(page["cursor"], str)) == (count - 1, True)


async def test_entries_go_out_as_they_come() -> None:
    children = [wrapped_leaf(b"%d" % number) for number in range(1000)]
    root = numbered(*children)
    blocks = Watched([root, *children])
    shown = await promised(blocks, root)
    assert set(blocks.asked) == {root.cid}
    assert shown.read is not None
    async with aclosing(shown.read(0, TO_THE_END)) as pieces:
        await anext(pieces)
        assert len(blocks.asked) <= GROUP + AHEAD + 3


async def test_what_cannot_be_listed_is_known_before_the_body() -> None:
    leaf = raw_leaf(b"x")
    root = numbered(leaf)
    with pytest.raises(WrongKind):
        await promised(MemoryBlocks([leaf]), leaf)
    with pytest.raises(InvalidCursor):
        await promised(MemoryBlocks([root]), root, cursor="a")


async def test_a_child_that_is_broken_or_missing_does_not_hide_the_others() -> None:
    broken = dag_pb_block(dag_pb.encode([], file_message([], b"abc", filesize=99)))
    nothing = dag_pb_block(dag_pb.encode([], None))
    children = [broken, nothing, wrapped_leaf(b"x"), raw_leaf(b"y"), numbered()]
    root = numbered(*children)
    whole = await listed(MemoryBlocks([root, *children]), root)
    assert types(whole) == ["dag-pb", "dag-pb", "file", "file", "directory"]
    assert "immutable" in whole.headers["Cache-Control"]
    lacking = await listed(MemoryBlocks([root, *children[:2], *children[3:]]), root)
    assert types(lacking) == ["dag-pb", "dag-pb", None, "file", "directory"]
    assert lacking.headers["Cache-Control"] == "no-cache"
    assert lacking.etag != whole.etag


async def test_what_is_missing_is_seen_once_it_comes(gate: Running) -> None:
    child, other = wrapped_leaf(b"x"), wrapped_leaf(b"y")
    root = numbered(child, other)
    await gate.add_blocks(root, other)
    target = f"/ipfs/{root.cid}?format=dir-json"
    lacking = [await gate.get(target) for _ in range(2)]
    assert [answer.headers["Cache-Control"] for answer in lacking] == ["no-cache", "no-cache"]
    etag = lacking[0].headers["ETag"]
    assert (await gate.get(target, If_None_Match=etag)).status == 304
    await gate.add_blocks(child)
    whole = await gate.get(target, If_None_Match=etag)
    assert (whole.status, "immutable" in whole.headers["Cache-Control"]) == (200, True)
    assert [entry["type"] for entry in whole.json["entries"]] == ["file", "file"]  # type: ignore[attr-defined]


async def test_a_name_that_looks_like_a_gap_is_none() -> None:
    child = wrapped_leaf(b"x")
    root = directory(('"type": null', child))
    assert "immutable" in (await listed(MemoryBlocks([root, child]), root)).headers["Cache-Control"]


async def test_a_page_that_goes_out_while_it_is_made_promises_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.small_bodies.SMALL_BYTES", 1000)
    children = [wrapped_leaf(b"%d" % number) for number in range(300)]
    root = numbered(*children)
    answer = await listed(MemoryBlocks([root, *children]), root)
    assert (answer.body, answer.etag, answer.headers["Cache-Control"]) == (None, None, "no-cache")
    assert answer.read is not None
    async with aclosing(answer.read(0, TO_THE_END)) as pieces:
        text = b"".join([bytes(piece) async for piece in pieces])  # type: ignore[arg-type]
    assert len(json.loads(text)["entries"]) == 300


async def test_a_store_that_is_away_is_no_empty_answer() -> None:
    child = wrapped_leaf(b"x")
    root = numbered(child)

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
    root = numbered(*children)
    answer = await listed(Making(), root)
    assert types(answer) == ["file"] * 200
    gc.collect()
    assert held == 0
    assert most <= 40


async def test_equal_children_are_looked_at_once() -> None:
    child = wrapped_leaf(b"x")
    root = numbered(*[child] * (3 * GROUP))
    blocks = Watched([root, child])
    assert types(await listed(blocks, root)) == ["file"] * (3 * GROUP)
    assert blocks.asked.count(child.cid) == 1
