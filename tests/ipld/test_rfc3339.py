"""Times of IPNS records: to the nanosecond, as Go writes and reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipld import rfc3339

LAST = 253402300799 * rfc3339.SECOND
FIRST = -62135596800 * rfc3339.SECOND


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        (b"1970-01-01T00:00:00.000000001Z", 1),
        (b"1970-01-01T00:00:00Z", 0),
        (b"1970-01-01T01:00:00.5+01:00", 500_000_000),
        (b"1969-12-31T23:00:00-01:00", 0),
        (b"2026-11-21T10:00:00.1234567891Z", 1795255200123456789),
        (b"9999-12-31T23:59:59Z", LAST),
    ],
)
def test_reading(text: bytes, nanoseconds: int) -> None:
    assert rfc3339.parse(text) == nanoseconds


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"2026-11-21",
        b"2026-11-21 10:00:00Z",
        b"2026-11-21T10:00:00",
        b"2026-13-21T10:00:00Z",
        b"2026-02-30T10:00:00Z",
        b"2026-11-21T24:00:00Z",
        b"2026-11-21T10:00:60Z",
        b"0000-01-01T00:00:00Z",
        b"0001-01-01T00:00:00+00:01",
        b"9999-12-31T23:59:59-00:01",
        b"2026-11-21T10:00:00+24:00",
        b"2026-11-21T10:00:00." + b"0" * 64 + b"Z",
        "２026-11-21T10:00:00Z".encode(),
        b"2026-11-21T10:00:00Z\n",
    ],
)
def test_what_is_no_time(text: bytes) -> None:
    with pytest.raises(ValueError):
        rfc3339.parse(text)


@given(st.integers(FIRST, LAST))
def test_what_was_written_reads_the_same(nanoseconds: int) -> None:
    assert rfc3339.parse(rfc3339.write(nanoseconds)) == nanoseconds


@pytest.mark.parametrize("nanoseconds", [LAST + rfc3339.SECOND, FIRST - 1, 1 << 80])
def test_there_are_four_digits_for_a_year(nanoseconds: int) -> None:
    with pytest.raises(ValueError, match="four digits"):
        rfc3339.write(nanoseconds)
