"""The access log: one line per request, made on the loop in microseconds and written many at a time."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Literal, Protocol, Self

from ipld.ending import end_loop

# A line is on disk this soon; a crash loses no more than that.
FLUSH_SECONDS = 0.2
# One write() of about 64 KiB.
FLUSH_LINES = 256

LogFormat = Literal["text", "json"]
Source = Literal["memory", "redis", "store", "-"]


class TextStream(Protocol):
    """Where lines go: a file or a standard stream."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...


@dataclass(slots=True)
class Line:
    """One request; `target` is raw, as the client sent it.

    `request_id` is one of ours, or was checked; `key` is the name of an API key, never the key. `host` is
    that of a website, and empty where the request came to the gateway as a whole.
    """

    request_id: str
    method: str
    target: str
    status: int
    size: int
    milliseconds: float
    key: str = "-"
    source: Source = "-"
    user_agent: str = "-"
    host: str = ""


class AccessLog:
    """Collects lines and writes them from a timer; `async with` flushes what is left."""

    def __init__(self, stream: TextStream, log_format: LogFormat = "text") -> None:
        self._stream = stream
        self._render: Callable[[Line, str], str] = _as_json if log_format == "json" else _as_text
        self._lines: list[Line] = []
        self._times: list[float] = []
        self._writer: asyncio.Task[None] | None = None
        self._full = asyncio.Event()

    def add(self, line: Line) -> None:
        """Remember a line; it is rendered and written later. Costs less than a microsecond."""
        self._lines.append(line)
        self._times.append(time.time())
        if len(self._lines) == FLUSH_LINES:
            self._full.set()

    def flush(self) -> None:
        """Write what there is. A log that cannot be written never fails a request."""
        if not self._lines:
            return
        lines, times = self._lines, self._times
        self._lines, self._times = [], []
        render = self._render
        text = "".join([render(line, _clock(at)) for line, at in zip(lines, times, strict=True)])
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            # The disk is full or the stream closed.
            with suppress(OSError, ValueError):
                sys.stderr.write(f"cidgate: {len(lines)} lines of access log were lost\n")

    async def __aenter__(self) -> Self:
        self._writer = asyncio.create_task(self._write_now_and_then(), name="access log")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            await end_loop(self._writer)
        self.flush()

    async def _write_now_and_then(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._full.wait()
            self._full.clear()
            self.flush()


# What may break a line, end a quoted field or steer a terminal.
_UNSAFE = re.compile(r"[^\x21\x23-\x5b\x5d-\x7e]")
_UNSAFE_IN_QUOTES = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")
_SECRET = re.compile(
    r"(?i)([?&;](?:[^=&;]*(?:token|secret|passw|signature|credential|api[-_]?key)[^=&;]*|key|auth|sig|access[-_]?key)=)[^&;#]*"
)
# A megabyte of path is no help to anyone.
_LONGEST = 2048


def _redact(target: str) -> str:
    return _SECRET.sub(r"\1***", target) if "=" in target else target


def _escape(match: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02x}" for byte in match[0].encode("utf-8", "surrogatepass"))


@lru_cache(maxsize=4096)
def _plain_target(target: str) -> str:
    return _plain(_redact(target))


@lru_cache(maxsize=256)
def _plain(text: str) -> str:
    return _UNSAFE.sub(_escape, text[:_LONGEST]) or "-"


@lru_cache(maxsize=256)
def _plain_agent(agent: str) -> str:
    return _UNSAFE_IN_QUOTES.sub(_escape, agent[:_LONGEST])


def _as_text(line: Line, at: str) -> str:
    target = f"//{line.host}{line.target}" if line.host else line.target
    return (
        f"{at} {line.request_id} {_plain(line.method)} {_plain_target(target)} {line.status}"
        f" {line.size} {line.milliseconds:.1f}ms {_plain(line.key)} {line.source}"
        f' "{_plain_agent(line.user_agent)}"\n'
    )


def _as_json(line: Line, at: str) -> str:
    # By hand: the encoder takes twice as long for the same line.
    return (
        f'{{"time":"{at}","request_id":{_quoted(line.request_id)},"method":{_quoted(line.method)},'
        f'"target":{_quoted(_redact(line.target[:_LONGEST]))},"status":{line.status},"bytes":{line.size},'
        f'"host":{_quoted(line.host)},"ms":{line.milliseconds:.2f},"key":{_quoted(line.key)},"source":"{line.source}",'
        f'"user_agent":{_quoted(line.user_agent[:_LONGEST])}}}\n'
    )


# ASCII only: no line separator of any script survives, nor a lone surrogate.
_quoted = json.JSONEncoder(ensure_ascii=True).encode


class _Clock:
    """RFC 3339 times; the date part changes once a second and is made once a second."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def __call__(self, at: float) -> str:
        second = int(at)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._text}.{int((at - second) * 1000):03d}Z"


_clock = _Clock()
