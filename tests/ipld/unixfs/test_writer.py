from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ipld.cid import DAG_PB, RAW, Cid
from ipld.unixfs.node import decode_node, leaf_data, leaf_wrapping
from ipld.unixfs.profiles import UNIXFS_V0_2015, UNIXFS_V1_2025
from ipld.unixfs.writer import FileBuilder, LeafSpan
from tests.ipld.dags import blocks_of, small


@given(st.lists(st.binary(max_size=30)), st.integers(1, 9), st.integers(2, 5), st.booleans())
def test_pieces_do_not_matter(pieces: list[bytes], chunk: int, width: int, raw: bool) -> None:
    profile = small(chunk, width, raw)
    data = b"".join(pieces)
    builder = FileBuilder(profile)
    reused = bytearray(64)
    spans: list[LeafSpan] = []
    for piece in pieces:
        reused[: len(piece)] = piece
        spans += builder.add(memoryview(reused)[: len(piece)])
    built = builder.finish()
    spans += built.leaves
    link, blocks = blocks_of(data, profile)
    assert (built.root, built.tsize, built.size) == (link.cid, link.tsize, len(data))
    assert [span.offset for span in spans] == list(range(0, len(data), chunk)) or spans[0].length == 0
    assert sum(span.length for span in spans) == len(data)
    assert built.tsize == sum(len(block.data) for block in blocks)


@given(st.integers(0, 3000))
def test_leaf_wrapping_makes_a_unixfs_file(length: int) -> None:
    before, after = leaf_wrapping(length)
    data = bytes(length)
    block = before + data + after
    cid = Cid.of(block, DAG_PB)
    assert leaf_data(cid, block) == data
    assert decode_node(cid, block).filesize == length


def test_balanced_keeps_all_leaves_at_one_depth() -> None:
    """IPIP-0499, "Balanced DAG layout variants": the lone fourth leaf is wrapped, not packed."""
    link, blocks = blocks_of(b"abcd", small(1, 3))
    by_cid = {block.cid: block.data for block in blocks}
    top = decode_node(link.cid, by_cid[link.cid])
    assert top.blocksizes == (3, 1)
    lone = decode_node(top.links[1].cid, by_cid[top.links[1].cid])
    assert [child.cid.codec for child in lone.links] == [RAW]


def test_inner_nodes_are_handed_out_as_they_complete() -> None:
    builder = FileBuilder(small(1, 4))
    drained = 0
    for _ in range(1000):
        builder.add(b"x")
        drained += len(builder.drain())
    # At each level the last one that is full waits: it might be the root.
    assert drained == 249 + 62 + 15 + 3
    assert builder.drain() == []
    assert len(builder.finish().inner) == 5


def test_a_leaf_is_described_by_its_span() -> None:
    for profile, wrapped, codec in ((UNIXFS_V1_2025, False, RAW), (UNIXFS_V0_2015, True, DAG_PB)):
        builder = FileBuilder(profile)
        size = profile.chunk_size
        spans = [*builder.add(bytes(size + 1)), *builder.finish().leaves]
        assert [(s.offset, s.length, s.wrapped, s.cid.codec) for s in spans] == [
            (0, size, wrapped, codec),
            (size, 1, wrapped, codec),
        ]
