"""How long an answer about a name holds: by its TTL, and never past the end of its record."""

from __future__ import annotations

import time

import pytest

from ipld.names import ResolvedName
from ipld.paths import ContentPath, resolve_names

PATH = ContentPath.parse("/ipfs/bafkqaaa")


@pytest.mark.parametrize(
    ("ttl", "expires", "expected"),
    [
        (None, None, None),
        (60, None, 60),
        (60, 1030.9, 30),
        (60, 2000.0, 60),
        (None, 1030.0, 30),
        (60, 900.0, 0),
        (-5, None, 0),
        (0, 2000.0, 0),
    ],
)
def test_fresh_for(ttl: int | None, expires: float | None, expected: int | None) -> None:
    assert ResolvedName(PATH, ttl, expires).fresh_for(1000.0) == expected


class Names:
    """One name that points to the next, and each with a TTL and an end of its own."""

    def __init__(self, **found: ResolvedName) -> None:
        self.found = found

    async def resolve(self, name: str) -> ResolvedName:
        return self.found[name]


async def test_the_shortest_on_the_way_counts() -> None:
    now = time.time()
    names = Names(
        a=ResolvedName(ContentPath.parse("/ipns/b/x"), 600),
        b=ResolvedName(ContentPath.parse("/ipns/c"), 500, now + 100.5),
        c=ResolvedName(PATH, None),
    )
    path, ttl = await resolve_names(names, ContentPath.parse("/ipns/a/y"))
    assert str(path) == "/ipfs/bafkqaaa/x/y"
    assert ttl in (99, 100)


async def test_an_answer_past_its_end_is_not_negative() -> None:
    names = Names(a=ResolvedName(PATH, 60, time.time() - 5))
    assert (await resolve_names(names, ContentPath.parse("/ipns/a")))[1] == 0
