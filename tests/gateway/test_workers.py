from __future__ import annotations

import logging
import subprocess
import time
from pathlib import Path

import pytest

from gateway import workers
from gateway.workers import Workers
from tests.gateway.processes import lives, until


def test_a_worker_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And the others are not: whoever manages the processes would end all of them the hard way."""
    monkeypatch.setattr(workers, "_END_SECONDS", 1.0)
    parent = Workers(2, 0, {}, grace=0.5)
    deaf = f"trap '' TERM; echo > {tmp_path}/deaf; while :; do sleep 0.05; done"
    polite = f"trap 'exit 7' TERM; echo > {tmp_path}/polite; while :; do sleep 0.05; done"
    ended = [subprocess.Popen(["/bin/sh", "-c", script]) for script in (deaf, polite)]
    parent._running = dict.fromkeys(ended, time.monotonic())
    until(lambda: (tmp_path / "deaf").exists() and (tmp_path / "polite").exists())
    began = time.monotonic()
    with caplog.at_level(logging.ERROR):
        parent._end()
    assert time.monotonic() - began >= 1.5
    assert [worker.returncode for worker in ended] == [-9, 7]
    assert not any(lives(worker.pid) for worker in ended)
    assert [record.args for record in caplog.records] == [(ended[0].pid,)]
