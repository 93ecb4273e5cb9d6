"""Pages of a directory: together they are all of it, and each costs only the shards that it stands in."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipld import dag_pb
from ipld.blocks import Block, BlockReader
from ipld.cid import Cid
from ipld.errors import WrongKind
from ipld.unixfs.hamt import build_hamt
from ipld.unixfs.node import Kind, Link, encode_data
from ipld.unixfs.paging import InvalidCursor, Page, page_of
from storage.memory_blocks import MemoryBlocks
from tests.ipld.dags import Watched, dag_pb_block, raw_leaf, small

LEAF = raw_leaf(b"x")
NAMES = st.lists(st.text(min_size=1, max_size=5), unique=True, max_size=60)


def plain(*names: str | None) -> Block:
    links = [dag_pb.PBLink(LEAF.cid, name, 1) for name in names]
    return dag_pb_block(dag_pb.encode(links, encode_data(Kind.DIRECTORY)))


async def pages(blocks: BlockReader, cid: Cid, limit: int) -> list[list[str]]:
    found, cursor = list[list[str]](), ""
    while len(found) < 200:
        entries, following = await page_of(blocks, cid, cursor, limit)
        found.append([entry.name for entry in entries])
        if following is None:
            return found
        cursor = following
    raise AssertionError("the pages have no end")


@settings(deadline=None)
@given(NAMES, st.integers(1, 10))
async def test_pages_make_the_whole(names: list[str], limit: int) -> None:
    encodable = sorted({name.encode("utf-8", "surrogatepass").decode("utf-8", "replace") for name in names})
    root = plain(*encodable)
    found = await pages(MemoryBlocks([root]), root.cid, limit)
    assert [name for page in found for name in page] == encodable
    assert all(len(page) == limit for page in found[:-1])
    if not encodable:
        return
    shards = build_hamt([Link(name, LEAF.cid, 1) for name in encodable], small(fanout=8))
    blocks = MemoryBlocks(shards)
    found = await pages(blocks, shards[-1].cid, limit)
    whole = await pages(blocks, shards[-1].cid, 1000)
    assert [name for page in found for name in page] == whole[0]
    assert sorted(whole[0]) == encodable


@pytest.mark.parametrize("fanout", [8, 256])
@pytest.mark.parametrize("limit", [1, 7, 1000])
async def test_pages_of_a_sharded_directory(fanout: int, limit: int) -> None:
    made = build_hamt([Link(f"é{n}", LEAF.cid, 1) for n in range(300)], small(fanout=fanout))
    names: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page, cursor = await page_of(MemoryBlocks(made), made[-1].cid, cursor, limit)
        names += [entry.name for entry in page]
    assert len(names) == 300
    assert len(set(names)) == 300


async def test_a_page_of_a_hundred_thousand_entries_reads_few_of_its_shards() -> None:
    shards = build_hamt([Link(f"file-{n}", LEAF.cid, 1) for n in range(100_000)], small(fanout=256))
    blocks = Watched(shards)
    page, cursor = await page_of(blocks, shards[-1].cid, "", 1000)
    assert len(page) == 1000
    first = len(blocks.asked)
    for _ in range(20):
        assert cursor is not None
        page, cursor = await page_of(blocks, shards[-1].cid, cursor, 1000)
        assert len(page) == 1000
    # Every page has three times as many shards as a thousand entries need: those ahead and those around.
    assert first < len(shards) // 20
    assert (len(blocks.asked) - first) / 20 < len(shards) // 20


@pytest.mark.parametrize(
    ("limit", "count", "groups", "following"),
    [
        (2, 1, [["a"], ["b"]], "LmI"),
        (2, 2, [["a", "b"]], "LmI"),
        (3, 2, [["a", "b"], ["c"]], None),
        (4, 9, [["a", "b", "c"]], None),
    ],
)
async def test_a_page_comes_in_groups(
    limit: int, count: int, groups: list[list[str]], following: str | None
) -> None:
    root = plain("a", "b", "c")
    page = Page("", limit)
    found = [
        [link.name for link in group] async for group in page.groups(MemoryBlocks([root]), root.cid, count)
    ]
    assert (found, page.following) == (groups, following)


@pytest.mark.parametrize(
    "cursor", ["a", "!", "ü", "AAAA", "=", "Lg==", "LmE=", " ", "Lg Lg", "x" * 1000, "\0"]
)
async def test_what_no_page_gave_is_no_cursor(cursor: str) -> None:
    root = plain("a", "b")
    with pytest.raises(InvalidCursor):
        await page_of(MemoryBlocks([root]), root.cid, cursor, 10)


async def test_directories_that_no_writer_makes_come_to_an_end() -> None:
    for root in (
        plain("", "", "", "b"),
        plain(None, None, "a"),
        plain("a", "a", "a", "a", "b"),
        plain("b", "a"),
    ):
        for limit in (1, 2, 3):
            found = await pages(MemoryBlocks([root]), root.cid, limit)
            assert found


async def test_names_that_are_no_utf8_have_cursors_too() -> None:
    names = sorted(["a", "\udcff", "\udc80b", "z"], key=dag_pb.name_bytes)
    root = plain(*names)
    assert await pages(MemoryBlocks([root]), root.cid, 1) == [[name] for name in names]


async def test_an_entry_that_is_gone_leaves_its_place() -> None:
    """What an IPNS name stands for may change between two pages."""
    before, after = plain("a", "b", "c", "d"), plain("a", "c", "d")
    blocks = MemoryBlocks([before, after])
    _, cursor = await page_of(blocks, before.cid, "", 2)
    assert cursor is not None
    entries, _ = await page_of(blocks, after.cid, cursor, 2)
    assert [entry.name for entry in entries] == ["c", "d"]


async def test_a_file_has_no_pages() -> None:
    with pytest.raises(WrongKind):
        await page_of(MemoryBlocks([LEAF]), LEAF.cid, "", 10)
