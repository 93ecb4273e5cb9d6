"""A short run of the kill loop; `python -m tests.durability.kill_loop` runs a long one."""

from __future__ import annotations

from pathlib import Path

from tests.durability.kill_loop import kill_loop


def test_nothing_that_was_answered_is_lost_by_a_kill(tmp_path: Path) -> None:
    figures = kill_loop(tmp_path, 3, seed=1)
    assert figures.problems == []
    assert figures.answered > 0
