"""The times of TAR entries: decimal numbers of seconds, exactly."""

from __future__ import annotations

import re

from ipld.unixfs.node import Mtime

_NANOSECONDS = 10**9
_DECIMAL = re.compile(r"(-?)([0-9]{1,19})(?:\.([0-9]*))?")


def parse_time(text: str) -> Mtime:
    """POSIX, "pax Header File Times"; digits beyond nanoseconds are dropped. Raises ValueError."""
    found = _DECIMAL.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time")
    sign, whole, fraction = found[1], found[2], (found[3] or "")[:9]
    total = int(whole) * _NANOSECONDS + int(fraction.ljust(9, "0"))
    seconds, nanoseconds = divmod(-total if sign else total, _NANOSECONDS)
    if not -(2**63) <= seconds < 2**63:
        raise ValueError(f"{text!r} does not fit into 64 bits")
    return Mtime(seconds, nanoseconds)


def decimal_time(mtime: Mtime) -> str:
    """The same number as text."""
    total = mtime.seconds * _NANOSECONDS + mtime.nanoseconds
    whole, fraction = divmod(abs(total), _NANOSECONDS)
    return f"{'-' if total < 0 else ''}{whole}.{fraction:09}".rstrip("0").rstrip(".")
