"""The path patterns of `_headers`: `*` for anything, `:name` for one segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.sites.percent import decoded_strictly


@dataclass(frozen=True, slots=True)
class PathPattern:
    """What comes before the first asterisk is in `head`, where None stands for one segment; `chunks` are the
    texts after each of them.

    Patterns and paths are compared as text in which each segment ends with a slash, so a trailing slash
    makes no difference. Case does: it tells names in a directory apart, unlike at Netlify.
    """

    head: tuple[str | None, ...]
    chunks: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> PathPattern:
        """ValueError for what would take more than linear time, or is no path."""
        first, *rest = path_text([_unescaped(part) for part in text.split("/") if part]).split("*")
        if any("/:" in chunk for chunk in rest):
            raise ValueError("a placeholder cannot come after an asterisk")
        return cls(_head(first), tuple(rest))

    @property
    def exact(self) -> str | None:
        """The one path that is meant, as `path_text` makes it; None where there are many."""
        return self.head[0] if len(self.head) == 1 and not self.chunks else None

    def matches(self, path: str) -> bool:
        """Whether a path, made by `path_text`, is one that is meant; in linear time."""
        at = self._after_head(path)
        if at < 0 or not self.chunks:
            return at == len(path)
        before = self.head[-1] or ""
        *middle, last = self.chunks
        for chunk in middle:
            # The first place is the best: it leaves the most for the next asterisk.
            found = path.find(chunk, _start(at, before, chunk))
            if found < 0:
                return False
            at, before = found + len(chunk), chunk
        return path.endswith(last) and len(path) - len(last) >= _start(at, before, last)

    def _after_head(self, path: str) -> int:
        at = 0
        for part in self.head:
            if part is None:
                stop = path.find("/", at)
                if stop <= at:
                    return -1
                at = stop
            elif path.startswith(part, at):
                at += len(part)
            else:
                return -1
        return at


def path_text(segments: Sequence[str]) -> str:
    """Decoded segments as the text that patterns are held against."""
    return "/" + "".join(segment.replace("/", "%2F") + "/" for segment in segments)


def _unescaped(part: str) -> str:
    # It would be taken for one that is not escaped.
    if "%2a" in part.lower():
        raise ValueError("an escaped asterisk is not supported")
    return decoded_strictly(part.strip())


def _head(text: str) -> tuple[str | None, ...]:
    head: list[str | None] = []
    literal = ""
    *whole, partial = text.split("/")
    for part in whole:
        if part.startswith(":"):
            head += [literal, None]
            literal = "/"
        else:
            literal += part + "/"
    if partial.startswith(":"):
        raise ValueError("an asterisk cannot follow a placeholder in one segment")
    return (*head, literal + partial)


def _start(at: int, before: str, chunk: str) -> int:
    # An asterisk that is a segment of its own stands for no segment, too: then both slashes are one.
    return at - 1 if before.endswith("/") and chunk.startswith("/") else at
