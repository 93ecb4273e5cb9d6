"""Durations as clients write them: `300`, `5m`, `48h`, `7d`, and as Go does, `1h30m`."""

from __future__ import annotations

import re

from gateway.refusals import BadRequest

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+|\d+(?:\.\d+)?", re.ASCII)
_UNIT = re.compile(r"([\d.]+)([smhd]?)", re.ASCII)
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MAX_TEXT = 32


def parse_duration(name: str, text: str) -> float:
    """In seconds; BadRequest, which says `name`, for what is no duration."""
    if len(text) > _MAX_TEXT or not _DURATION.fullmatch(text):
        raise BadRequest(f"{name} is a duration such as 300 (seconds), 5m, 48h or 7d")
    return sum(float(number) * _SECONDS[unit] for number, unit in _UNIT.findall(text))
