"""Leaves become few reads: which, and in which order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipld.blocks import Leaf
from ipld.cid import DAG_PB, RAW, Cid
from ipld.errors import MalformedBlock
from storage.index import Layout, Location
from storage.spans import MAX_GAP_BYTES, Run, carries_data, plan


def leaf(name: object, size: int = 10, start: int = 0, stop: int | None = None, codec: int = RAW) -> Leaf:
    return Leaf(Cid.of(str(name).encode(), codec), size, start, size if stop is None else stop)


def at(offset: int, length: int = 10, object_id: int = 1, **more: object) -> Location:
    return Location(object_id, f"k{object_id}", Layout.CAR, offset, length, **more)  # type: ignore[arg-type]


def planned(given: list[tuple[Leaf, list[Location]]], max_bytes: int = 1000) -> list[object]:
    located = {one.cid.multihash: copies for one, copies in given}
    steps = plan([one for one, _ in given], located, max_bytes)
    return [(step.key, step.start, step.stop) if isinstance(step, Run) else step for step in steps]


def test_neighbours_are_one_read() -> None:
    assert planned([(leaf(n), [at(n * 10)]) for n in range(5)]) == [("k1", 0, 50)]


def test_gaps() -> None:
    near, far = 10 + MAX_GAP_BYTES, 11 + MAX_GAP_BYTES
    assert planned([(leaf(1), [at(0)]), (leaf(2), [at(near)])], 10**6) == [("k1", 0, near + 10)]
    assert planned([(leaf(1), [at(0)]), (leaf(2), [at(far)])], 10**6) == [
        ("k1", 0, 10),
        ("k1", far, far + 10),
    ]
    assert planned([(leaf(1), [at(50)]), (leaf(2), [at(0)])]) == [("k1", 50, 60), ("k1", 0, 10)]


def test_no_read_is_too_large() -> None:
    steps = planned([(leaf(n), [at(n * 10)]) for n in range(10)], max_bytes=35)
    assert steps == [("k1", 0, 30), ("k1", 30, 60), ("k1", 60, 90), ("k1", 90, 100)]
    assert planned([(leaf(1), [at(0)])], max_bytes=1) == [("k1", 0, 10)]


def test_the_copy_beside_the_last_one_is_read() -> None:
    both = [at(500, object_id=1), at(10, object_id=2)]
    assert planned([(leaf(1), [at(0, object_id=2)]), (leaf(2), both)]) == [("k2", 0, 20)]
    assert planned([(leaf(2), both)]) == [("k1", 500, 510)]


def test_what_is_no_span_is_read_as_a_block() -> None:
    missing, inline = leaf("missing"), leaf("inline")
    wrapped, other = leaf("wrapped", codec=DAG_PB), leaf("other", codec=RAW)
    steps = planned(
        [
            (leaf(1), [at(0)]),
            (missing, []),
            (inline, [at(0, inline=b"x" * 10)]),
            (wrapped, [at(10, wrapped=True)]),
            (other, [at(20, wrapped=True)]),
        ]
    )
    assert steps == [("k1", 0, 10), missing, inline, ("k1", 10, 20), other]


def test_a_span_of_another_length() -> None:
    with pytest.raises(MalformedBlock):
        planned([(leaf(1, size=11), [at(0)])])


def test_carrying_data() -> None:
    raw, node = Cid.of(b"x", RAW), Cid.of(b"x", DAG_PB)
    assert carries_data(raw, at(0))
    assert not carries_data(node, at(0))
    assert carries_data(node, at(0, wrapped=True))
    assert not carries_data(raw, at(0, wrapped=True))
    assert not carries_data(raw, at(0, inline=b"x"))


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 30), st.integers(1, 20)), max_size=30), st.data())
def test_every_leaf_once_and_in_order(spans: list[tuple[int, int, int]], data: st.DataObject) -> None:
    given: list[tuple[Leaf, list[Location]]] = []
    for n, (object_id, offset, size) in enumerate(spans):
        start = data.draw(st.integers(0, size))
        stop = data.draw(st.integers(start, size))
        given.append((leaf(n, size, start, stop), [at(offset * 10, size, object_id)]))
    located = {one.cid.multihash: copies for one, copies in given}
    leaves = [one for one, _ in given]
    out = []
    for step in plan(leaves, located, 100):
        assert isinstance(step, Run)
        assert step.start <= min(placed.start for placed in step.placed)
        assert step.stop >= max(placed.stop for placed in step.placed)
        assert step.stop - step.start <= 100 or len(step.placed) == 1
        if step.contiguous:
            wanted = sum(placed.leaf.stop - placed.leaf.start for placed in step.placed)
            assert wanted == step.placed[-1].stop - step.placed[0].start
        out += [placed.leaf for placed in step.placed]
    assert out == leaves
