"""Range, If-Range and multipart framing against RFC 9110 section 14."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.ranges import MalformedRange, Span, UnsatisfiableRange, if_range_holds, multipart, parse_range


@pytest.mark.parametrize(
    ("header", "size", "spans"),
    [
        (None, 10, None),
        # RFC 9110 section 14.1.2: the examples, for 10,000 bytes.
        ("bytes=0-499", 10_000, [(0, 500)]),
        ("bytes=500-999", 10_000, [(500, 1000)]),
        ("bytes=-500", 10_000, [(9500, 10_000)]),
        ("bytes=9500-", 10_000, [(9500, 10_000)]),
        ("bytes=0-0,-1", 10_000, [(0, 1), (9999, 10_000)]),
        ("bytes= 0-999, 4500-5499, -1000", 10_000, [(0, 1000), (4500, 5500), (9000, 10_000)]),
        # The last position may lie beyond the end, the suffix may be longer than all there is.
        ("bytes=5-999", 10, [(5, 10)]),
        ("bytes=-999", 10, [(0, 10)]),
        ("bytes=0-", 1, [(0, 1)]),
        ("bytes=0-99999999999999999999999999", 10, [(0, 10)]),
        # Section 14.1: range units are case-insensitive; section 14.2: an unknown one is ignored.
        ("BYTES=0-1", 10, [(0, 2)]),
        ("items=0-1", 10, None),
        ("nonsense", 10, None),
        # Section 14.2: what overlaps or touches is sent once; the rest keeps the order of the request.
        ("bytes=0-4,3-6", 10, [(0, 7)]),
        ("bytes=500-700,601-999", 10_000, [(500, 1000)]),
        ("bytes=0-4,5-6", 10, [(0, 7)]),
        ("bytes=8-9,0-1", 10, [(8, 10), (0, 2)]),
        ("bytes=8-9,0-1,1-3", 10, [(8, 10), (0, 4)]),
        ("bytes=6-16,0-4", 31, [(6, 17), (0, 5)]),
        # Section 14.1.2: one satisfiable range is enough.
        ("bytes=0-1,50-60", 10, [(0, 2)]),
        # Section 5.6.1.2: empty list elements.
        ("bytes=,0-1,,", 10, [(0, 2)]),
        # Nothing that a 206 could say about an empty body.
        ("bytes=0-1", 0, None),
        # Section 14.2: more ranges than anyone needs.
        ("bytes=" + "0-1," * 16 + "0-1", 100, None),
        ("bytes=" + ",".join(f"{n}-" for n in range(1300)), 2000, None),
    ],
)
def test_parse(header: str | None, size: int, spans: list[tuple[int, int]] | None) -> None:
    got = parse_range(header, size)
    assert (None if got is None else [(span.start, span.stop) for span in got]) == spans


@pytest.mark.parametrize(
    "header",
    [
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=5",
        "bytes=a-b",
        "bytes=1-0",
        "bytes=0-1,3-2",
        "bytes=--1",
        "bytes=0 - 1",
        "bytes=+1-2",
        "bytes=0x1-2",
        "bytes=1_0-20",
        "bytes=٣-٤",
        "bytes=0-1-2",
    ],
)
def test_malformed(header: str) -> None:
    with pytest.raises(MalformedRange, match=r"^invalid range request$"):
        parse_range(header, 100)


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99-,100-"])
def test_unsatisfiable(header: str) -> None:
    with pytest.raises(UnsatisfiableRange) as caught:
        parse_range(header, 10)
    assert caught.value.size == 10


@given(st.text(alphabet="bytes=0123456789-, \t٣x", max_size=60), st.integers(0, 10**6))
@example("bytes=" + "9" * 5000 + "-", 10)
def test_never_anything_but_typed_errors(header: str, size: int) -> None:
    for text in (header, "bytes=" + header):
        try:
            spans = parse_range(text, size)
        except (MalformedRange, UnsatisfiableRange):
            continue
        for span in spans or []:
            assert 0 <= span.start < span.stop <= size


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=16))
def test_spans_are_what_was_asked_for_and_apart(pairs: list[tuple[int, int]]) -> None:
    size = 200
    asked = [(min(pair), max(pair)) for pair in pairs]
    wanted = {byte for first, last in asked for byte in range(first, min(last + 1, size))}
    header = "bytes=" + ",".join(f"{first}-{last}" for first, last in asked)
    try:
        spans = parse_range(header, size)
    except UnsatisfiableRange:
        assert not wanted
        return
    assert spans is not None
    got = [byte for span in spans for byte in range(span.start, span.stop)]
    assert len(got) == len(set(got))
    assert set(got) == wanted


@pytest.mark.parametrize(
    ("header", "etag", "modified", "holds"),
    [
        # RFC 9110 section 13.1.5.
        (None, '"a"', None, True),
        ('"a"', '"a"', None, True),
        ('"b"', '"a"', None, False),
        ('W/"a"', 'W/"a"', None, False),
        ('W/"a"', '"a"', None, False),
        ('"a"', None, None, False),
        ("Sun, 06 Nov 1994 08:49:37 GMT", '"a"', 784111777.0, True),
        ("Sun, 06 Nov 1994 08:49:37 GMT", '"a"', 784111777.9, True),
        ("Sun, 06 Nov 1994 08:49:38 GMT", '"a"', 784111777.0, False),
        ("Sun, 06 Nov 1994 08:49:37 GMT", '"a"', None, False),
        ("garbage", '"a"', 784111777.0, False),
        # Section 8.8.2.2: a date within this very second is weak.
        ("Sun, 06 Nov 1994 08:49:40 GMT", None, 784111780.0, False),
    ],
)
def test_if_range(header: str | None, etag: str | None, modified: float | None, holds: bool) -> None:
    assert if_range_holds(header, etag, modified, now=784111780.0) is holds


def test_multipart_length_is_known_before_reading() -> None:
    body = bytes(range(100))
    framing = multipart([Span(0, 5), Span(50, 60)], 100, "text/plain")
    sent = b"".join(head + body[span.start : span.stop] for head, span in framing.parts) + framing.closing
    assert len(sent) == framing.length
    assert b"Content-Range: bytes 50-59/100\r\n\r\n" in sent
