"""Walking all of a directory: paths that stay inside, and nothing more in memory than needed."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from ipld import dag_pb, varint
from ipld.blocks import Block
from ipld.cid import DAG_CBOR, Cid
from ipld.errors import BlockNotFound, MalformedBlock, NotUnixFs
from ipld.unixfs.hamt import build_hamt
from ipld.unixfs.node import Kind, Link, encode_data
from ipld.unixfs.tree import Branch, walk
from storage.memory_blocks import MemoryBlocks
from tests.ipld.dags import Watched, blocks_of, dag_pb_block, directory, file_message, raw_leaf, small

LEAF = raw_leaf(b"evil")


def symlink(target: bytes) -> Block:
    return dag_pb_block(dag_pb.encode([], b"\x08\x04\x12" + varint.encode(len(target)) + target))


async def walked(root: Block, *more: Block) -> list[Branch]:
    async with aclosing(walk(MemoryBlocks([root, *more, LEAF]), root.cid, "root")) as branches:
        return [branch async for branch in branches]


async def paths(root: Block, *more: Block) -> list[str]:
    return [branch.path for branch in await walked(root, *more)]


async def test_directories_come_before_what_they_hold() -> None:
    link = symlink(b"../elsewhere")
    inner = directory(("file", LEAF), ("link", link))
    large, blocks = blocks_of(b"x" * 50, small())
    shards = build_hamt([Link(f"f{n}", LEAF.cid, 4) for n in range(20)], small(fanout=8))
    root = dag_pb_block(
        dag_pb.encode(
            [
                dag_pb.PBLink(shards[-1].cid, "hamt", 1),
                dag_pb.PBLink(inner.cid, "inner", 1),
                dag_pb.PBLink(large.cid, "large", 1),
            ],
            encode_data(Kind.DIRECTORY),
        )
    )
    found = await walked(root, link, inner, *blocks, *shards)
    names = [branch.path for branch in found]
    assert names[:2] == ["root", "root/hamt"]
    assert sorted(names[2:22]) == sorted(f"root/hamt/f{n}" for n in range(20))
    assert names[22:] == ["root/inner", "root/inner/file", "root/inner/link", "root/large"]
    by_path = {branch.path: branch for branch in found}
    assert by_path["root/inner/link"].target == "../elsewhere"
    assert bytes(by_path["root/inner/file"].data or b"") == b"evil"
    file = by_path["root/large"].file
    assert file is not None
    assert by_path["root/large"].data is None
    async with aclosing(file.read()) as pieces:
        assert b"".join([bytes(piece) async for piece in pieces]) == b"x" * 50


@pytest.mark.parametrize(
    "name", ["..", "../x", "../../x", "a/../../x", "/../x", "", ".", "./", "a\0b", "../rootx"]
)
async def test_names_that_lead_out_are_refused(name: str) -> None:
    with pytest.raises(MalformedBlock):
        await paths(directory((name, LEAF)))


async def test_a_name_is_taken_for_what_it_means() -> None:
    """The conformance suite's `inside-root`: `directory/../file` stays inside."""
    inner = directory(("../file", LEAF))
    assert await paths(directory(("foobar", inner)), inner) == ["root", "root/foobar", "root/file"]
    assert await paths(directory(("/etc/passwd", LEAF))) == ["root", "root/etc/passwd"]


@pytest.mark.parametrize("char", [chr(code) for code in (*range(1, 32), 127, 0x9B)])
async def test_control_characters_are_escaped(char: str) -> None:
    assert await paths(directory((f"a{char}b", LEAF))) == ["root", f"root/a%{ord(char):02X}b"]


async def test_nothing_is_written_through_a_symlink() -> None:
    """The archive would be unpacked as: make `x` point to /etc, then write `x/passwd`."""
    link = symlink(b"/etc")
    inner = directory(("passwd", LEAF))
    for hostile in (
        directory(("x", link), ("x", inner)),
        directory(("x", link), ("x/passwd", LEAF)),
        directory(("x", link), ("y/../x/passwd", LEAF)),
        directory(("x", link), ("x", LEAF)),
    ):
        with pytest.raises(MalformedBlock, match="symlink"):
            await paths(hostile, link, inner)
    assert await paths(directory(("x", link), ("xy", LEAF)), link) == ["root", "root/x", "root/xy"]


async def test_a_symlink_is_short() -> None:
    for target in (b"", b"a\0b", b"x" * 5000):
        with pytest.raises(MalformedBlock, match="target"):
            await walked(directory(("x", symlink(target))), symlink(target))
    message = file_message([4], kind=Kind.SYMLINK)
    large = dag_pb_block(dag_pb.encode([dag_pb.PBLink(LEAF.cid, "", 4)], message))
    with pytest.raises(MalformedBlock, match="target"):
        await walked(directory(("x", large)), large)


async def test_what_is_no_unixfs_is_refused() -> None:
    cbor = Block(Cid.of(b"\xa0", DAG_CBOR), b"\xa0")
    with pytest.raises(NotUnixFs):
        await walked(cbor)
    with pytest.raises(NotUnixFs):
        await walked(directory(("x", cbor)), cbor)


async def test_directories_are_not_nested_for_ever() -> None:
    blocks = [directory()]
    for _ in range(300):
        blocks.append(directory(("d", blocks[-1])))
    with pytest.raises(MalformedBlock, match="deep"):
        await walked(blocks[-1], *blocks)


@pytest.mark.parametrize("missing", [0, 7, 30])
async def test_a_missing_block_ends_it_and_leaves_nothing_behind(missing: int) -> None:
    leaves = [raw_leaf(b"%d" % number) for number in range(31)]
    root = directory(*((f"{n:02}", leaf) for n, leaf in enumerate(leaves)))
    here = [leaf for number, leaf in enumerate(leaves) if number != missing]
    seen: list[str] = []
    with pytest.raises(BlockNotFound):
        async with aclosing(walk(MemoryBlocks([root, *here]), root.cid, "root")) as branches:
            async for branch in branches:
                seen.append(branch.path)  # noqa: PERF401 - what came before the failure counts
    assert len(seen) == missing + 1
    assert len(asyncio.all_tasks()) == 1


async def test_few_blocks_are_fetched_ahead() -> None:
    leaves = [raw_leaf(bytes([n]) * 1000) for n in range(200)]
    inner = directory(*((f"{n:03}", leaf) for n, leaf in enumerate(leaves)))
    root = directory(*((f"{n:03}", inner) for n in range(200)))
    blocks = Watched([*leaves, inner, root])
    async with aclosing(walk(blocks, root.cid, "root")) as branches:
        for _ in range(50):
            await anext(branches)
    assert len(blocks.asked) < 90
    assert len(asyncio.all_tasks()) == 1
