"""A short run of the kill loop; `python -m tests.durability.kill_loop` runs a long one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.durability.kill_loop import kill_loop
from tests.durability.object_places import MIB, bucket
from tests.storage.s3_servers import versitygw


def test_nothing_that_was_answered_is_lost_by_a_kill(tmp_path: Path) -> None:
    figures = kill_loop(tmp_path, 2, seed=1, answered=1)
    assert figures.problems == []
    assert figures.answered >= figures.rounds


def test_nor_is_anything_in_a_bucket(tmp_path: Path) -> None:
    with bucket(tmp_path, versitygw()) as place:
        quick = replace(place, largest=11 * MIB, longest=0.5)
        figures = kill_loop(tmp_path, 1, seed=2, place=quick, answered=1)
    assert figures.problems == []
    assert figures.answered >= figures.rounds
