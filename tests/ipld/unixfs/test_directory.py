from __future__ import annotations

from contextlib import aclosing, suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipld import dag_pb
from ipld.blocks import Block
from ipld.cid import Cid
from ipld.errors import InvalidPath, MalformedBlock, NoLink, WrongKind
from ipld.unixfs import hamt
from ipld.unixfs.directory import build_directory, build_tree
from ipld.unixfs.edit import put_link, remove_link
from ipld.unixfs.hamt import Position, Shard, build_hamt
from ipld.unixfs.listing import find_entry, list_entries
from ipld.unixfs.node import Kind, Link, decode_node, encode_data
from ipld.unixfs.profiles import UNIXFS_V0_2015, UNIXFS_V1_2025, Profile
from storage.memory_blocks import MemoryBlocks
from tests.fixture_data import fixture, needs_fixtures
from tests.ipld.dags import dag_pb_block, raw_leaf, small
from tests.ipld.test_car import parse

names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=12
).filter(lambda name: name not in (".", ".."))
# Directories of a few entries are HAMTs here.
TINY = replace(small(fanout=8), shard_threshold=150)


def links(wanted: list[str]) -> list[Link]:
    return [Link(name, Cid.of(name.encode()), len(name)) for name in wanted]


async def listed(blocks: MemoryBlocks, cid: Cid) -> list[Link]:
    async with aclosing(list_entries(blocks, cid)) as entries:
        return [entry async for entry in entries]


@settings(deadline=None)
@given(
    st.lists(names, unique=True, max_size=40),
    st.sampled_from([8, 16, 32, 64, 128, 256, 512, 1024]),
    st.booleans(),
)
async def test_list_and_find_in_hamts_of_any_fanout(wanted: list[str], fanout: int, reverse: bool) -> None:
    entries = links(wanted)
    made = build_hamt(entries, small(fanout=fanout))
    assert made[-1].cid == build_hamt(sorted(entries, reverse=reverse), small(fanout=fanout))[-1].cid
    blocks, root = MemoryBlocks(made), made[-1].cid
    assert sorted(await listed(blocks, root)) == sorted(entries)
    for entry in entries:
        found = await find_entry(blocks, root, entry.name)
        assert found.link == entry
        assert found.trail[0] == root
        assert len(found.trail) <= hamt.max_depth(fanout)
    missing = await find_entry(blocks, root, "not/there")
    assert missing.link is None


@given(st.lists(names, unique=True, max_size=12))
async def test_list_and_find_in_plain_directories(wanted: list[str]) -> None:
    made = build_directory(reversed(links(wanted)), UNIXFS_V1_2025)
    blocks, root = MemoryBlocks(made), made[-1].cid
    assert await listed(blocks, root) == sorted(links(wanted), key=lambda link: link.name.encode())
    for entry in links(wanted):
        assert (await find_entry(blocks, root, entry.name)).link == entry
    assert (await find_entry(blocks, root, "not/there")).link is None


@pytest.mark.parametrize("profile", [UNIXFS_V1_2025, UNIXFS_V0_2015])
def test_the_hamt_begins_above_the_threshold(profile: Profile) -> None:
    entries = links([f"{n:04}" for n in range(100)])
    plain = build_directory(entries, profile)
    exact = len(plain[0].data) if profile is UNIXFS_V1_2025 else sum(4 + len(e.cid.raw) for e in entries)
    assert len(build_directory(entries, replace(profile, shard_threshold=exact))) == 1
    assert len(build_directory(entries, replace(profile, shard_threshold=exact - 1))) > 1


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0", "x" * 5000])
def test_names_that_no_path_can_mean(name: str) -> None:
    with pytest.raises(InvalidPath):
        build_directory(links([name]), UNIXFS_V1_2025)


def test_trees_that_contradict_themselves() -> None:
    file = Link("", Cid.of(b""), 0)
    bad: list[dict[str, Link | None]] = [
        {"a": file, "a/b": file},
        {"a/b": file, "a": file},
        {"a": file, "/a/": file},
        {"a": file, "a/": None},
        {"": file},
        {"x/" * 300: file},
    ]
    for files in bad:
        with pytest.raises(InvalidPath):
            build_tree(files, UNIXFS_V1_2025)
    with pytest.raises(InvalidPath):
        build_directory([*links(["a"]), *links(["a"])], UNIXFS_V1_2025)


def test_tsize_counts_everything_below() -> None:
    leaf = raw_leaf(b"12345")
    built = build_tree({"a/b/c": Link("", leaf.cid, 5), "d": Link("", leaf.cid, 5)}, UNIXFS_V1_2025)
    assert built.root.tsize == 10 + sum(len(block.data) for block in built.blocks)
    assert built.root.cid == built.blocks[-1].cid


def shard(bits: bytes, entries: list[tuple[str, Cid]], fanout: int = 8, hash_type: int = 0x22) -> Block:
    message = encode_data(Kind.SHARD, bits, hash_type=hash_type, fanout=fanout)
    return dag_pb_block(dag_pb.encode([dag_pb.PBLink(cid, name, 0) for name, cid in entries], message))


LEAF = Cid.of(b"")


@pytest.mark.parametrize(
    "bad",
    [
        shard(b"\x01", [("0a", LEAF)], fanout=4),
        shard(b"\x01", [("0a", LEAF)], fanout=12),
        shard(b"\x01", [("000a", LEAF)], fanout=2048),
        shard(b"\x01", [("0a", LEAF)], fanout=2**40),
        shard(b"\x01", [("0a", LEAF)], hash_type=0x12),
        shard(b"\x00\x01", [("0a", LEAF)]),
        shard(b"\x03", [("0a", LEAF)]),
        shard(b"\x01", [("0a", LEAF), ("1b", LEAF)]),
        shard(b"\x02", [("0a", LEAF)]),
        shard(b"\x01", [("", LEAF)]),
    ],
)
async def test_shards_that_contradict_themselves(bad: Block) -> None:
    """CVE-2023-23625, -23626, -23631."""
    blocks = MemoryBlocks([bad])
    with pytest.raises(MalformedBlock):
        await listed(blocks, bad.cid)
    # A lookup looks at one link only: some of these names lead to it.
    with pytest.raises(MalformedBlock):
        for name in "abcdefghijklmnopqrstuvwxyz":
            await find_entry(blocks, bad.cid, name)


async def test_shards_that_repeat_each_other_are_not_listed_for_ever() -> None:
    wrong = next(n for n in "abcdefghij" if Position.of(n, 8).slot(0) != 0)
    made = [shard(b"\x01", [("0" + wrong, LEAF)])]
    for _ in range(30):
        made.append(shard(b"\xff", [(str(n), made[-1].cid) for n in range(8)]))
    for root in (made[0], made[5], made[-1]):
        with pytest.raises(MalformedBlock):
            await listed(MemoryBlocks(made), root.cid)
    with pytest.raises(MalformedBlock):
        await find_entry(MemoryBlocks(made), made[-1].cid, "zz")
    empty = shard(b"", [])
    assert await listed(MemoryBlocks([empty]), empty.cid) == []
    above = shard(b"\x01", [("0", empty.cid)])
    with pytest.raises(MalformedBlock):
        await listed(MemoryBlocks([empty, above]), above.cid)


@given(st.binary(max_size=40), st.integers(0, 2000))
def test_only_malformed_block_is_raised(bits: bytes, fanout: int) -> None:
    block = shard(bits, [("0a", LEAF)], fanout)
    with suppress(MalformedBlock):
        Shard(decode_node(block.cid, block.data)).slots()


def test_names_that_collide_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamt, "hash64", lambda *_args, **_kwargs: (7, 7))
    with pytest.raises(InvalidPath, match="collide"):
        build_hamt(links(["a", "b"]), small(fanout=8))


async def test_a_file_is_not_a_directory() -> None:
    leaf = raw_leaf(b"x")
    with pytest.raises(WrongKind):
        await listed(MemoryBlocks([leaf]), leaf.cid)
    assert (await find_entry(MemoryBlocks([leaf]), leaf.cid, "a")).link is None


paths = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4).map("/".join)


def consistent(wanted: list[str]) -> dict[str, Link | None]:
    files: dict[str, Link | None] = {}
    for path in wanted:
        if not any(path.startswith(other + "/") or other.startswith(path + "/") for other in files):
            files[path] = Link("", Cid.of(path.encode()), 1)
    return files


@settings(deadline=None)
@given(
    st.lists(paths, unique=True, max_size=25), paths, st.sampled_from([TINY, UNIXFS_V1_2025, UNIXFS_V0_2015])
)
async def test_an_edit_gives_what_a_fresh_build_gives(wanted: list[str], path: str, profile: Profile) -> None:
    files = consistent([*wanted, path])
    path = next(reversed(files), path)
    link = files.pop(path)
    assert link
    before, after = build_tree(files, profile), build_tree({**files, path: link}, profile)
    blocks = MemoryBlocks(before.blocks)
    made = await put_link(blocks, before.root.cid, path.split("/"), link, profile)
    assert made[-1].cid == after.root.cid
    blocks.put_all(made)
    removed = await remove_link(blocks, made[-1].cid, path.split("/"), profile)
    parents = "/".join(path.split("/")[:-1])
    kept = (
        {**files, parents: None} if parents and not any(f.startswith(parents + "/") for f in files) else files
    )
    assert removed[-1].cid == build_tree(kept, profile).root.cid


async def test_edits_that_cannot_be() -> None:
    leaf = raw_leaf(b"x")
    link = Link("", leaf.cid, 1)
    built = build_tree({"file": link, "dir/a": link}, UNIXFS_V1_2025)
    blocks = MemoryBlocks([leaf, *built.blocks])
    root = built.root.cid
    with pytest.raises(WrongKind):
        await put_link(blocks, root, ["file", "b"], link, UNIXFS_V1_2025)
    with pytest.raises(InvalidPath):
        await put_link(blocks, root, [], link, UNIXFS_V1_2025)
    for segments in (["nope"], ["nope", "a"], ["dir", "b"]):
        with pytest.raises(NoLink):
            await remove_link(blocks, root, segments, UNIXFS_V1_2025)
    replaced = await put_link(blocks, root, ["dir"], link, UNIXFS_V1_2025)
    assert replaced[-1].cid == build_tree({"file": link, "dir": link}, UNIXFS_V1_2025).root.cid


class TestVectors:
    pytestmark = needs_fixtures

    async def test_a_hamt_of_the_conformance_suite(self) -> None:
        name = "single-layer-hamt-with-multi-block-files.car"
        parser, sections = parse(fixture(f"gateway-conformance/trustless_gateway_car/{name}"))
        blocks = MemoryBlocks(Block(section.cid, section.data) for section in sections)
        assert parser.roots
        entries = await listed(blocks, parser.roots[0])
        assert len(entries) > 100
        for entry in entries:
            assert (await find_entry(blocks, parser.roots[0], entry.name)).link == entry
