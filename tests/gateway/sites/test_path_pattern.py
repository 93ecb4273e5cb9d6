"""The path patterns of `_headers`."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sites.path_pattern import PathPattern, path_text


def matches(pattern: str, path: str) -> bool:
    return PathPattern.parse(pattern).matches(path_text([part for part in path.split("/") if part]))


@pytest.mark.parametrize(
    ("pattern", "those", "not_those"),
    [
        ("/", ["/"], ["/a"]),
        ("/a", ["/a", "/a/"], ["/", "/ab", "/a/b", "/A", "/b"]),
        ("/a/", ["/a", "/a/"], ["/a/b"]),
        ("//a//b//", ["/a/b"], ["/a"]),
        ("/*", ["/", "/a", "/a/b", "/a/b/"], []),
        ("/a/*", ["/a", "/a/", "/a/b", "/a/b/c"], ["/", "/ab", "/b"]),
        ("/a*", ["/a", "/ab", "/ab/c", "/a/b"], ["/", "/b"]),
        ("/a/*/b", ["/a/b", "/a/x/b", "/a/x/y/b"], ["/a", "/a/xb", "/a/b/c", "/ab"]),
        ("/*/a/*", ["/a", "/x/a", "/x/a/y", "/ab/a/c"], ["/ab", "/b"]),
        ("/*.css", ["/a.css", "/a/b.css", "/.css"], ["/a.css/b", "/css", "/a.csss"]),
        ("/a/b*c/d", ["/a/bc/d", "/a/bxc/d", "/a/b/c/d"], ["/a/bc", "/a/bcd"]),
        ("/a/*/*", ["/a", "/a/b", "/a/b/c"], ["/b"]),
        ("/:x", ["/a", "/b/"], ["/", "/a/b"]),
        ("/a/:x/c", ["/a/b/c"], ["/a/c", "/a/b/b/c", "/a/b"]),
        ("/:x/:y", ["/a/b"], ["/a", "/a/b/c"]),
        ("/:x/*", ["/a", "/a/b"], ["/"]),
        ("/a.b+(c)", ["/a.b+(c)"], ["/aXb+(c)", "/a.bb(c)"]),
        ("/a:b", ["/a:b"], ["/ax"]),
        ("/%C4%85", ["/ą"], ["/%C4%85"]),
        ("/ą", ["/ą"], []),
    ],
)
def test_which_paths_are_meant(pattern: str, those: list[str], not_those: list[str]) -> None:
    assert [path for path in those + not_those if matches(pattern, path)] == those


def test_a_slash_inside_a_name_ends_no_segment() -> None:
    assert not PathPattern.parse("/a/b").matches(path_text(["a/b"]))
    assert PathPattern.parse("/a%2Fb").matches(path_text(["a/b"]))


@pytest.mark.parametrize("pattern", ["/*/:x", "/a*/:x", "/:x*", "/%2A", "/%2a*", "/%", "/%ff"])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(ValueError):
        PathPattern.parse(pattern)


def test_exact_paths() -> None:
    assert PathPattern.parse("/a/b").exact == path_text(["a", "b"])
    assert PathPattern.parse("/").exact == path_text([])
    assert [PathPattern.parse(text).exact for text in ("/*", "/a/:b", "/:a", "/a*")] == [None] * 4


def test_many_asterisks_take_linear_time() -> None:
    pattern = PathPattern.parse("/" + "*a" * 1000 + "*b")
    started = time.process_time()
    assert not pattern.matches(path_text(["a" * 8000]))
    assert pattern.matches(path_text(["a" * 8000 + "b"]))
    assert time.process_time() - started < 0.5


def expected(pattern: str) -> str:
    """The regular expression that Netlify makes of a pattern, where `*` as a segment ends at slashes."""
    parts = []
    for part in filter(None, pattern.split("/")):
        if part == "*":
            parts.append("(?:[^/]+/)*")
        elif part.startswith(":"):
            parts.append("[^/]+/")
        else:
            parts.append(".*".join(map(re.escape, part.split("*"))) + "/")
    return "/" + "".join(parts)


_PATTERNS = st.lists(st.sampled_from(["a", "b", "ab", ":x", "*", "a*", "*b", "a*b"]), max_size=4)
_SEGMENTS = st.lists(st.text("ab", min_size=1, max_size=3), max_size=5)


@given(_PATTERNS, _SEGMENTS)
def test_as_a_regular_expression_would(parts: list[str], segments: list[str]) -> None:
    text = "/" + "/".join(parts)
    try:
        pattern = PathPattern.parse(text)
    except ValueError:
        assert "*" in text[: text.rindex(":")]
        return
    path = path_text(segments)
    assert pattern.matches(path) == bool(re.fullmatch(expected(text), path))
