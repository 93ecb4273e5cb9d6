"""The program's own log: requests that cannot be parsed do not fill it."""

from __future__ import annotations

import logging
import sys

import pytest
from aiohttp.http_exceptions import BadHttpMessage

from gateway.logs import _is_worth_a_line


@pytest.mark.parametrize(
    ("error", "worth"), [(BadHttpMessage("x"), False), (ValueError("x"), True), (None, True)]
)
def test_what_is_worth_a_line(error: Exception | None, worth: bool) -> None:
    record = logging.LogRecord("aiohttp.server", logging.ERROR, "", 0, "message", (), None)
    if error is not None:
        try:
            raise error
        except Exception:
            record.exc_info = sys.exc_info()
    assert _is_worth_a_line(record) is worth
