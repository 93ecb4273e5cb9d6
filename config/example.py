"""`.env.example`, made of the settings: `python -m config.example > .env.example`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from config.settings import Settings

_HEAD = """\
# Every setting of cidgate, with its default. Copy to `.env`, or set them in the environment, which wins.
# Sizes: 64MiB, 5GB, or bytes. Durations: 250ms, 30s, 5m, 6h, or seconds. Empty means unset.
"""


def env_example() -> str:
    return "\n".join((_HEAD, *_lines()))


def size_text(size: int) -> str:
    """The shortest way to write it that is exact."""
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size and size % (1 << power) == 0:
            return f"{size >> power}{unit}"
    return str(size)


def duration_text(seconds: float) -> str:
    for length, unit in ((3600, "h"), (60, "m"), (1, "s")):
        if seconds >= length and seconds % length == 0:
            return f"{int(seconds // length)}{unit}"
    return f"{round(seconds * 1000)}ms"


def _lines() -> Iterator[str]:
    for name, info in Settings.model_fields.items():
        yield f"# {info.description}\n# {name.upper()}={_text(name, info.default)}\n"


def _text(name: str, default: object) -> str:
    match default:
        case Enum():
            return str(default.value)
        case bool():
            return str(default).lower()
        case int() if name.endswith("_bytes"):
            return size_text(default)
        case float():
            return duration_text(default)
        case Path():
            return f"./{default}"
        case str() | int():
            return str(default)
    return ""


if __name__ == "__main__":
    sys.stdout.write(env_example())
