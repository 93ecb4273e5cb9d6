"""Where the shared test vectors are: `../shared/fixtures`, or CIDGATE_FIXTURES."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

FIXTURES = Path(os.environ.get("CIDGATE_FIXTURES") or Path(__file__).parents[2] / "shared" / "fixtures")

needs_fixtures = [
    pytest.mark.needs_fixtures,
    pytest.mark.skipif(not FIXTURES.is_dir(), reason="shared fixtures are not here (set CIDGATE_FIXTURES)"),
]


def fixture(path: str) -> bytes:
    return (FIXTURES / path).read_bytes()


def fixture_files(pattern: str) -> list[Path]:
    return sorted(FIXTURES.glob(pattern))


def content(seed: str, size: int) -> bytes:
    """The file content that a profile vector means."""
    return hashlib.shake_128(seed.encode()).digest(size)
