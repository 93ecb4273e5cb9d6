"""Modes and times in UnixFS nodes, byte for byte as Kubo writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipld import dag_pb
from ipld.cid import DAG_PB, Cid
from ipld.unixfs.directory import build_symlink, build_tree, built_directory
from ipld.unixfs.edit import put_link, remove_link
from ipld.unixfs.node import NO_METADATA, Kind, Link, Metadata, Mtime, decode_node, encode_data
from ipld.unixfs.profiles import UNIXFS_V1_2025
from ipld.unixfs.writer import FileBuilder
from storage.memory_blocks import MemoryBlocks
from tests.ipld.dags import dag_pb_block, raw_leaf, small

METADATA = Metadata(0o640, Mtime(1_700_000_000, 500_000_000))
TIMES = st.builds(Mtime, st.integers(-(2**63), 2**63 - 1), st.integers(0, 999_999_999))


@given(st.none() | st.integers(1, 0o7777), st.none() | TIMES, st.sampled_from([Kind.FILE, Kind.DIRECTORY]))
def test_what_is_said_is_read_again(mode: int | None, mtime: Mtime | None, kind: Kind) -> None:
    message = encode_data(kind) + Metadata(mode, mtime).encode(kind)
    block = dag_pb_block(dag_pb.encode([], message))
    node = decode_node(block.cid, block.data)
    assert (node.mode, node.mtime) == (mode, mtime)


def test_where_a_mode_is_not_said() -> None:
    assert Metadata(mode=0).encode(Kind.FILE) == b""
    assert Metadata(mode=0o777).encode(Kind.SYMLINK) == b""
    assert Metadata(mode=0).encode(Kind.DIRECTORY) == Metadata(mode=0).encode(Kind.SHARD) == b"\x38\x00"
    assert NO_METADATA.encode(Kind.DIRECTORY) == b""


@pytest.mark.parametrize("piece", [1, 255, 256, 300, 10_000])
@pytest.mark.parametrize(
    ("leaves", "cid"),
    # chmod 640, touch -d @1700000000.5, and then
    # ipfs add --cid-version=1 --raw-leaves=false --chunker=size-256 --max-file-links=3
    #          --preserve-mode --preserve-mtime
    [
        (0, "bafybeibibyaldxojsoyttwozvcm53eev6azhwynqt5o7hktegx4yw72do4"),
        (1, "bafybeigz2ndebrs4mdlcknseoejxqq6r5s3ekqs6m4ijdtncubj7v7ptcu"),
        (3, "bafybeidsu7gmphxyuiwjpa7aq5gre64krltsfqmhmlznmhqxqg3haxfxly"),
        (4, "bafybeieij4u3utkmknxy5qutnjykou54kzcmermmamubdl3j55vpwft734"),
        (9, "bafybeihstr6qdm62uaslmqaxrly6uawj7rvpfkqymagrriyng6nywxrepq"),
        (10, "bafybeidocnn3w6cymscdcxuarmd6plhqped2x6w57bms6sgjmf3vst57je"),
        (27, "bafybeia4txnqcxjjjjkpo57smw7d72ui33oubouiwarkey5aq5n73ctyzy"),
        (28, "bafybeidk24yzwmeovfglh2a6m6erprwhdbk23bdskuhiddjynsv2kmw2qm"),
    ],
)
def test_the_root_of_a_file_says_it(leaves: int, cid: str, piece: int) -> None:
    data = bytes(at // 256 for at in range(256 * leaves))
    builder = FileBuilder(small(256, 3, raw_leaves=False), METADATA)
    sizes, tsize = dict[Cid, int](), 0
    for start in range(0, len(data), piece):
        sizes |= {leaf.cid: leaf.length for leaf in builder.add(data[start : start + piece])}
        tsize += sum(len(block.data) for block in builder.drain())
    built = builder.finish()
    tsize += sum(len(block.data) for block in built.inner)
    assert str(built.root) == cid
    assert built.size == len(data)
    assert len(sizes) + len(built.leaves) == (leaves if leaves > 1 else 0)
    # Each leaf of 256 bytes has eleven more around them.
    assert built.tsize == tsize + (267 * leaves if leaves > 1 else 0)


def test_only_the_root_of_a_hamt_says_it() -> None:
    entries = [Link(f"{number:040}", raw_leaf(b"x").cid, 1) for number in range(4000)]
    plain = built_directory(entries, UNIXFS_V1_2025)
    told = built_directory(entries, UNIXFS_V1_2025, METADATA)
    assert told.blocks[:-1] == plain.blocks[:-1]
    root = decode_node(told.root.cid, told.blocks[-1].data)
    assert (root.kind, root.mode, root.mtime) == (Kind.SHARD, METADATA.mode, METADATA.mtime)
    assert told.root.tsize == plain.root.tsize + len(METADATA.encode(Kind.SHARD))


def test_metadata_counts_against_the_threshold_of_a_directory() -> None:
    """IPIP-0499, "block-bytes": the serialised size of the whole node."""
    entries = [Link("a", raw_leaf(b"x").cid, 1)]
    whole = len(built_directory(entries, UNIXFS_V1_2025, METADATA).blocks[-1].data)
    for threshold, kind in ((whole, Kind.DIRECTORY), (whole - 1, Kind.SHARD)):
        profile = small(shard_threshold=threshold)
        root = built_directory(entries, profile, METADATA).blocks[-1]
        assert decode_node(root.cid, root.data).kind == kind


def test_directories_of_a_tree() -> None:
    leaf = Link("", raw_leaf(b"x").cid, 1)
    other = Metadata(mode=0o700)
    built = build_tree({"a/b/c": leaf, "a/b": None}, UNIXFS_V1_2025, {"": METADATA, "a/b": other})
    below, between, top = [decode_node(block.cid, block.data) for block in built.blocks]
    assert (below.mode, below.mtime) == (0o700, None)
    assert (between.mode, between.mtime) == (None, None)
    assert (top.mode, top.mtime) == (METADATA.mode, METADATA.mtime)


def test_a_symlink_has_a_time_alone() -> None:
    block = build_symlink("x", UNIXFS_V1_2025, METADATA)
    node = decode_node(block.cid, block.data)
    assert (node.cid.codec, node.mode, node.mtime) == (DAG_PB, None, METADATA.mtime)


async def test_an_edit_leaves_the_directories_what_they_say() -> None:
    leaf = raw_leaf(b"x")
    link, said = Link("", leaf.cid, 1), {"": METADATA, "a": Metadata(mode=0o700)}
    profile = small(shard_threshold=150)
    before = build_tree({"a": None, "a/b": link, "c": link, "d": link}, profile, said)
    blocks = MemoryBlocks(before.blocks)
    made = await put_link(blocks, before.root.cid, ["a", "new"], link, profile)
    after = build_tree({"a": None, "a/b": link, "a/new": link, "c": link, "d": link}, profile, said)
    assert decode_node(made[-1].cid, made[-1].data).kind == Kind.SHARD
    assert made[-1].cid == after.root.cid
    blocks.put_all(made)
    removed = await remove_link(blocks, made[-1].cid, ["a", "new"], profile)
    assert removed[-1].cid == before.root.cid
