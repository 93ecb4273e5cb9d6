"""Request ids: taken over where harmless, made otherwise."""

from __future__ import annotations

import pytest

from gateway.request_id import request_id


@pytest.mark.parametrize("sane", ["a", "0af7651916cd43dd8448eb211c80319c", "x-1_2.3~4+5/6=", "z" * 64])
def test_taken_over(sane: str) -> None:
    assert request_id(sane) == sane


@pytest.mark.parametrize("other", [None, "", "z" * 65, "a b", "a\r\nX: y", "é", '"', "a\n"])
def test_replaced(other: str | None) -> None:
    made = request_id(other)
    assert made != other
    assert made != request_id(other)
    assert request_id(made) == made
