"""The access log: one safe line per request, late but never lost."""

from __future__ import annotations

import asyncio
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import access_log
from gateway.access_log import AccessLog, Line, LogFormat


def line(target: str = "/ipfs/x", **more: str) -> Line:
    return Line(more.pop("request_id", "r-1"), "GET", target, 200, 1024, 1.25, **more)  # type: ignore[arg-type]


async def logged(lines: list[Line], log_format: LogFormat) -> list[str]:
    stream = io.StringIO()
    async with AccessLog(stream, log_format) as log:
        for each in lines:
            log.add(each)
    return stream.getvalue().splitlines()


async def test_text() -> None:
    (text,) = await logged([line(key="ci", source="redis", user_agent='curl/8 "x"')], "text")
    assert text.split(" ", 1)[1] == r'r-1 GET /ipfs/x 200 1024 1.2ms ci redis "curl/8 \x22x\x22"'


async def test_json() -> None:
    (text,) = await logged([line(user_agent="\ud800\u2028é")], "json")
    fields = json.loads(text)
    assert fields["bytes"] == 1024
    assert fields["user_agent"] == "\ud800\u2028é"
    assert fields["time"].endswith("Z")


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/ipfs/x?token=abc&format=car", "/ipfs/x?token=***&format=car"),
        ("/x?a=1&X-Amz-Signature=abc", "/x?a=1&X-Amz-Signature=***"),
        ("/x?API_KEY=abc", "/x?API_KEY=***"),
        ("/x?key=abc#f", "/x?key=***#f"),
        ("/x?filename=monkey.txt", "/x?filename=monkey.txt"),
        ("/x\r\nGET /y", r"/x\x0d\x0aGET\x20/y"),
        ("/ł\x1b[2J", r"/\xc5\x82\x1b[2J"),
    ],
)
async def test_targets_are_redacted_and_escaped(target: str, shown: str) -> None:
    (text,) = await logged([line(target)], "text")
    assert text.split(" ")[3] == shown


@given(st.text(max_size=50), st.text(max_size=50))
def test_one_request_is_one_plain_line(target: str, agent: str) -> None:
    for render in (access_log._as_text, access_log._as_json):
        text = render(line(target, user_agent=agent), "now")
        assert text.endswith("\n")
        assert text[:-1].isprintable()
        assert text.isascii()


@pytest.mark.parametrize("steps", range(8))
async def test_a_log_that_fills_up_while_it_is_closed_is_closed(steps: int) -> None:
    """At whatever moment: the end of the writer must not be lost in it."""
    log = AccessLog(io.StringIO())
    writer = asyncio.create_task(log._write_now_and_then())
    await asyncio.sleep(0.01)
    log._full.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    writer.cancel()
    await asyncio.wait([writer], timeout=1)
    assert writer.cancelled()


async def test_lines_are_written_without_waiting_for_the_end() -> None:
    stream = io.StringIO()
    async with AccessLog(stream) as log:
        log.add(line())
        assert stream.getvalue() == ""
        await asyncio.sleep(access_log.FLUSH_SECONDS * 2)
        assert stream.getvalue().count("\n") == 1
        for _ in range(access_log.FLUSH_LINES):
            log.add(line())
        await asyncio.sleep(0.01)
        assert stream.getvalue().count("\n") == 1 + access_log.FLUSH_LINES


async def test_a_closed_stream_fails_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    async with AccessLog(stream) as log:
        log.add(line())
        stream.close()
    assert "1 lines of access log were lost" in capsys.readouterr().err
