"""Times as IPNS records write them: RFC 3339, to the nanosecond."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

SECOND = 1_000_000_000

_FORM = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Longer fractions are not looked at.
MAX_BYTES = 64


def parse(text: bytes) -> int:
    """Nanoseconds since 1970; ValueError for what is no such time."""
    match = _FORM.fullmatch(text) if len(text) <= MAX_BYTES else None
    if match is None:
        raise ValueError("not a time of RFC 3339")
    moment = datetime.strptime(match[1].decode(), "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    nanoseconds = (moment - _EPOCH) // timedelta(seconds=1) * SECOND + int((match[2] or b"").ljust(9, b"0"))
    if match[3] is None:
        return nanoseconds
    hours, minutes = int(match[4]), int(match[5])
    if hours > 23 or minutes > 59:
        raise ValueError("not an offset of RFC 3339")
    offset = (hours * 3600 + minutes * 60) * SECOND
    nanoseconds += -offset if match[3] == b"+" else offset
    write(nanoseconds)  # In UTC it may be before the year 1 or after 9999.
    return nanoseconds


def write(nanoseconds: int) -> bytes:
    """The time in UTC, without zeros at the end of its fraction; ValueError after the year 9999."""
    seconds, fraction = divmod(nanoseconds, SECOND)
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError as error:
        raise ValueError("a time in IPNS records has a year of four digits") from error
    text = moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    digits = f"{fraction:09}".rstrip("0")
    return f"{text}{'.' if digits else ''}{digits}Z".encode()
