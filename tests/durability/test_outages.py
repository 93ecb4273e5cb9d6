"""A short run of the outages; `make outages` makes them as long as they are in life."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.durability.outages import KINDS, outages
from tests.storage.s3_servers import versitygw


@pytest.mark.needs_versitygw
@pytest.mark.needs_redis
def test_what_is_answered_is_true_whatever_is_down() -> None:
    if versitygw() is None:
        pytest.skip("no versitygw on the PATH, nor in VERSITYGW")
    # The path of the database's socket has to be short.
    with tempfile.TemporaryDirectory(prefix="cg-out-") as folder:
        figures = outages(Path(folder), 1.5, pause=0.05)
    assert not figures.problems
    for service in ("the S3 server", "Postgres"):
        assert figures.outcomes[f"{service} is down"]["hot read", "200"] > 0
        assert all(figures.outcomes[f"{service} is back"][kind, what] > 0 for kind, what in SUCCESSES)
    assert figures.outcomes["Postgres is down"]["upload", "503 with Retry-After"] > 0


SUCCESSES = tuple((kind, "201" if kind == "upload" else "200") for kind in KINDS)
