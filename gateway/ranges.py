"""Byte ranges: which parts of a body a client asked for, and how several of them are framed."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.headers import parse_date

DEFAULT_MAX_RANGES = 16

# Longer than the length of any body; keeps int() away from digit strings of any length.
_MAX_DIGITS = 18


class MalformedRange(ValueError):
    """The `Range` header says `bytes` and then breaks the grammar of RFC 9110 section 14.1.1."""

    def __init__(self) -> None:
        super().__init__("invalid range request")


class UnsatisfiableRange(Exception):
    """No range that was asked for overlaps the `size` bytes that there are."""

    def __init__(self, size: int) -> None:
        super().__init__(f"none of the ranges lies within the {size} bytes of this content")
        self.size = size


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes from `start` up to, not including, `stop`."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start

    def content_range(self, size: int) -> str:
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def parse_range(header: str | None, size: int, limit: int = DEFAULT_MAX_RANGES) -> list[Span] | None:
    """The spans to send, or None where the header is absent or to be ignored.

    Ignored: units other than bytes (RFC 9110 section 14.2), more than `limit` ranges (the same section
    names them a likely attack), and any range of an empty body, which no 206 could describe.
    Raises MalformedRange, UnsatisfiableRange.
    """
    if header is None or size == 0:
        return None
    unit, _, ranges = header.partition("=")
    if unit.strip().lower() != "bytes":
        return None
    if ranges.count(",") >= limit:
        return None
    # RFC 9110 section 5.6.1.2: empty elements of a list are skipped.
    specs = [spec for spec in (part.strip(" \t") for part in ranges.split(",")) if spec]
    if not specs:
        raise MalformedRange
    spans = [span for span in (_parse_spec(spec, size) for spec in specs) if span is not None]
    if not spans:
        raise UnsatisfiableRange(size)
    return coalesce(spans)


def _parse_spec(spec: str, size: int) -> Span | None:
    """One range of the set, cut to the body; None where it lies outside."""
    first, dash, last = spec.partition("-")
    if not dash:
        raise MalformedRange
    if not first:
        length = min(_digits(last), size)
        return Span(size - length, size) if length else None
    start = _digits(first)
    stop = _digits(last) + 1 if last else size
    # RFC 9110 section 14.1.1: a last position below the first makes the whole set invalid.
    if last and stop <= start:
        raise MalformedRange
    return Span(start, min(stop, size)) if start < size else None


def _digits(text: str) -> int:
    # str.isdigit() alone takes digits of every script.
    if not (text.isascii() and text.isdigit()):
        raise MalformedRange
    return int(text) if len(text) <= _MAX_DIGITS else 10**_MAX_DIGITS


def coalesce(spans: Sequence[Span]) -> list[Span]:
    """Spans that overlap or touch become one; the others stay in the order of the request.

    RFC 9110 section 14.2: no byte is sent twice, whatever was asked for.
    """
    if len(spans) == 1:
        return list(spans)
    merged: list[tuple[int, Span]] = []
    for position, span in sorted(enumerate(spans), key=lambda item: item[1].start):
        if merged and span.start <= merged[-1][1].stop:
            before, last = merged[-1]
            merged[-1] = min(before, position), Span(last.start, max(last.stop, span.stop))
        else:
            merged.append((position, span))
    return [span for _, span in sorted(merged, key=lambda item: item[0])]


def if_range_holds(header: str | None, etag: str | None, last_modified: float | None, now: float) -> bool:
    """Whether `Range` may be obeyed (RFC 9110 section 13.1.5): no If-Range, or it names this very version."""
    if header is None:
        return True
    text = header.strip()
    if text.startswith(('"', "W/")):
        return etag is not None and text == etag and not etag.startswith("W/")
    if last_modified is None:
        return False
    # RFC 9110 section 8.8.2.2: a date within the second of this answer is a weak validator.
    modified = int(last_modified)
    return parse_date(text) == modified and modified < int(now)


@dataclass(frozen=True, slots=True)
class Multipart:
    """A `multipart/byteranges` body, its framing laid out before the first byte is read."""

    content_type: str
    parts: tuple[tuple[bytes, Span], ...]
    closing: bytes

    @property
    def length(self) -> int:
        return sum(len(head) + span.size for head, span in self.parts) + len(self.closing)


def multipart(spans: Sequence[Span], size: int, content_type: str | None) -> Multipart:
    """The framing of several ranges (RFC 9110 section 14.6); the boundary is unguessable by the content."""
    boundary = secrets.token_hex(16)
    shown = f"Content-Type: {content_type}\r\n" if content_type else ""
    parts = tuple(
        (
            f"\r\n--{boundary}\r\n{shown}Content-Range: {span.content_range(size)}\r\n\r\n".encode(),
            span,
        )
        for span in spans
    )
    return Multipart(f"multipart/byteranges; boundary={boundary}", parts, f"\r\n--{boundary}--\r\n".encode())
