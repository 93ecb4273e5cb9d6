"""Intervals against a set of positions, and what is remembered of objects."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from storage.verified import Intervals, VerifiedSpans

SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)), max_size=25)


@given(SPANS, SPANS)
def test_against_a_set(added: list[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    intervals, model = Intervals(), set[int]()
    for start, length in added:
        if length:
            intervals.add(start, start + length)
        model.update(range(start, start + length))
        # As few as can be: neighbours that touch are one.
        assert len(intervals) == sum(1 for at in model if at - 1 not in model)
    for start, length in asked:
        assert intervals.covers(start, start + length) == model.issuperset(range(start, start + length))
        assert intervals.reach(start) == next(at for at in range(start, 200) if at not in model)


def test_versions() -> None:
    verified = VerifiedSpans()
    verified.add("k", 1, 0, 10)
    assert verified.covers("k", 1, 2, 8)
    assert not verified.covers("k", 2, 2, 8)
    assert not verified.covers("k", None, 2, 8)
    assert not verified.covers("other", 1, 2, 8)
    assert verified.reach("k", 1, 2) == 10
    assert (verified.reach("k", 2, 2), verified.reach("k", None, 2), verified.reach("other", 1, 2)) == (
        2,
        2,
        2,
    )
    verified.add("k", 2, 20, 30)
    assert not verified.covers("k", 1, 2, 8)
    assert not verified.covers("k", 2, 2, 8)
    assert verified.covers("k", 2, 20, 30)
    verified.forget("k")
    verified.forget("k")
    assert not verified.covers("k", 2, 20, 30)


def test_what_may_change_unseen_is_not_remembered() -> None:
    verified = VerifiedSpans()
    verified.add("k", None, 0, 10)
    assert not verified.covers("k", None, 0, 10)


def test_few_objects_are_remembered_and_those_in_use_stay() -> None:
    verified = VerifiedSpans(max_objects=3)
    for n in range(5):
        verified.add(f"k{n}", 1, 0, 1)
        assert verified.covers("k0", 1, 0, 1)
    assert [verified.covers(f"k{n}", 1, 0, 1) for n in range(5)] == [True, False, False, True, True]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 50)), max_size=200))
def test_intervals_are_bounded_over_all_objects(steps: list[tuple[int, int]]) -> None:
    verified = VerifiedSpans(max_intervals=10)
    for key, at in steps:
        verified.add(str(key), 1, at * 2, at * 2 + 1)
        kept = [len(intervals) for _, intervals in verified._objects.values()]
        assert sum(kept) == verified._intervals <= 10
