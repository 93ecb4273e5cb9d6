"""The header that tells which gateways a question came through."""

from __future__ import annotations

import pytest

from naming.delegated_routing import DelegatedRouter
from naming.upstream_records import UpstreamRecords
from naming.via import marks_in, new_mark, via_header
from tests.naming.ipns_records import Owner, remote, server

ONE, TWO = "cidgate-0123456789abcdef", "cidgate-fedcba9876543210"


def test_marks_are_told_apart() -> None:
    marks = {new_mark() for _ in range(100)}
    assert len(marks) == 100
    assert all(marks_in([f"1.1 {mark}"]) == (mark,) for mark in marks)


@pytest.mark.parametrize(
    ("fields", "marks"),
    [
        ([], ()),
        ([""], ()),
        (["1.0 fred, 1.1 p.example.net"], ()),
        ([f"1.1 {ONE}"], (ONE,)),
        ([f"1.0 fred,1.1 {ONE} (a comment) , HTTP/1.1\t{TWO}"], (ONE, TWO)),
        ([f"1.1 {TWO}", f"1.1 {ONE}"], (TWO, ONE)),
        ([f"1.1 {ONE}, 1.1 {ONE}"], (ONE, ONE)),
        ([ONE, f"1.1 {ONE}0", f"1.1 {ONE[:-1]}", f"1.1 {ONE.upper()}", "1.1", ",,"], ()),
    ],
)
def test_reading(fields: list[str], marks: tuple[str, ...]) -> None:
    """RFC 9110 section 7.6.3."""
    assert marks_in(fields) == marks
    assert marks_in(via_header(marks).values()) == marks


async def test_servers_are_told_who_asks() -> None:
    async with server() as other, remote(other.url) as asked:
        for source in (DelegatedRouter(asked), UpstreamRecords(asked)):
            await source.find(Owner().name, (ONE, TWO))
            await source.find(Owner().name)
        assert other.via == [f"1.1 {ONE}, 1.1 {TWO}", None] * 2
