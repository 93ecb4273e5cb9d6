"""Which rule of `_redirects` a request meets, and where it leads (web-redirects-file spec, "Evaluation")."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_plus

from gateway.sites.errors import BrokenSiteFile
from gateway.sites.percent import as_value, decoded, encoded_path, encoded_query, encoded_text
from gateway.sites.redirects_file import ERROR_PAGES, REWRITE, SPLAT, Placeholder, Rule

# A placeholder may be named many times in `to`: the result must not grow without bounds.
MAX_TARGET = 16 * 1024

_PARTS = re.compile(r"((?:[^:/?#]+://[^/?#]*)?)([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_REFERENCE = re.compile(r":([^:]*)")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request leads: a Location, or for a rewrite and an error page a path of this site without a
    query. `to` is percent-encoded; `line` is that of the rule."""

    to: str
    status: int
    line: int

    @property
    def is_redirect(self) -> bool:
        return self.status != REWRITE and self.status not in ERROR_PAGES


@dataclass(frozen=True, slots=True)
class _Asked:
    """The path of a request, raw and decoded."""

    raw: tuple[str, ...]
    segments: tuple[str, ...]
    slash: bool

    @classmethod
    def of(cls, path: str) -> _Asked:
        # Empty segments mean nothing in a content path either.
        raw = tuple(part for part in path.split("/") if part)
        return cls(raw, tuple(map(decoded, raw)), path.endswith("/"))


def find_target(rules: Sequence[Rule], path: str, query: str = "") -> Target | None:
    """What the first rule that matches makes of a raw request path and query; None where none does.

    Takes time linear in the size of the rules and of the path. Raises BrokenSiteFile for a target that
    gets too long.
    """
    asked = _Asked.of(path)
    for rule in rules:
        if _matches(rule, asked):
            return _target(rule, _values(rule, asked), query)
    return None


def _matches(rule: Rule, asked: _Asked) -> bool:
    segments, count = rule.segments, len(rule.segments)
    if rule.splat is None:
        if len(asked.raw) != count:
            return False
    elif not _leaves_splat(rule.splat, asked, count):
        return False
    # Thousands of rules may come before the right one: no generator, and names are not compared.
    for wanted, given in zip(segments, asked.segments, strict=False):
        if wanted != given and type(wanted) is str:
            return False
    return True


def _leaves_splat(before: str, asked: _Asked, count: int) -> bool:
    """Whether the path goes on after `count` segments as the one with the asterisk wants."""
    if len(asked.raw) > count:
        return asked.segments[count].startswith(before)
    # `/posts/*` is met by `/posts/`, and by `/posts` it is not: the slash comes before the asterisk.
    return not before and len(asked.raw) == count and asked.slash


def _values(rule: Rule, asked: _Asked) -> dict[str, str]:
    values = {
        segment.name: raw
        for segment, raw in zip(rule.segments, asked.raw, strict=False)
        if isinstance(segment, Placeholder)
    }
    # Kubo knows `:splat` in every rule.
    values[SPLAT] = values.get(SPLAT, "")
    if rule.splat is not None:
        values[SPLAT] = _remainder(rule.splat, len(rule.segments), asked)
    return values


def _remainder(before: str, count: int, asked: _Asked) -> str:
    if len(asked.raw) == count:
        return ""
    first = asked.raw[count]
    if before:
        first = encoded_text(asked.segments[count][len(before) :])
    return "/".join((first, *asked.raw[count + 1 :])) + "/" * asked.slash


def _target(rule: Rule, values: Mapping[str, str], query: str) -> Target:
    found = _PARTS.fullmatch(rule.to)
    assert found is not None
    origin, path, static, fragment = found[1], found[2], found[3], found[4]
    names = _Names(values, rule.line)
    path = names.put_into(path, encoded_path)
    if not origin:
        # `//` and what follows would be the host of another site.
        path = "/" + path.lstrip("/")
    target = Target(path, rule.status, rule.line)
    if not target.is_redirect:
        return target
    merged = merge_queries(names.put_into(static or "", as_value), encoded_query(query))
    end = "" if fragment is None else "#" + names.put_into(fragment, encoded_path)
    location = f"{origin}{path}{'?' if merged else ''}{merged}{end}"
    return Target(location, rule.status, rule.line)


class _Names:
    """Puts what the request has for each placeholder into the parts of `to`."""

    def __init__(self, values: Mapping[str, str], line: int) -> None:
        self._values = values
        self._line = line
        self._lengths = sorted({len(name) for name in values}, reverse=True)

    def put_into(self, text: str, encode: Callable[[str], str]) -> str:
        if ":" not in text:
            return text
        parts, size = [], 0
        for part in self._parts(text, encode):
            parts.append(part)
            size += len(part)
            if size > MAX_TARGET:
                raise BrokenSiteFile(
                    f"line {self._line} of _redirects leads to more than {MAX_TARGET} characters"
                )
        return "".join(parts)

    def _parts(self, text: str, encode: Callable[[str], str]) -> Iterator[str]:
        encoded: dict[str, str] = {}
        yield text[: text.index(":")]
        for reference in _REFERENCE.finditer(text):
            run = reference[1]
            name = self._longest(run)
            if name is None:
                yield reference[0]
                continue
            if name not in encoded:
                encoded[name] = encode(self._values[name])
            yield encoded[name]
            yield run[len(name) :]

    def _longest(self, run: str) -> str | None:
        """The longest name that the text begins with: `:id` must not be found in `:id2`."""
        for length in self._lengths:
            if length <= len(run) and run[:length] in self._values:
                return run[:length]
        return None


def merge_queries(static: str, dynamic: str) -> str:
    """What the user asked for comes before what `to` says of the same parameter (section "Query
    Parameters"). The order is by name, as Kubo's; where there is nothing to merge, all is left as it is.
    """
    if not static or not dynamic:
        return dynamic or static
    asked = _pairs(dynamic)
    overridden = {name for name, _ in asked}
    merged = [pair for pair in _pairs(static) if pair[0] not in overridden] + asked
    return "&".join(text for _, text in sorted(merged, key=lambda pair: pair[0]))


def _pairs(query: str) -> list[tuple[str, str]]:
    """The name of each parameter, decoded, and its text."""
    return [(unquote_plus(text.partition("=")[0]), text) for text in query.split("&") if text]
