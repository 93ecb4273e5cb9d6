"""Reading `_headers` (Netlify's format): blocks of a path pattern and the headers of what lies there.

No IPFS spec covers the file. Sites that have one were made for Netlify or Cloudflare, so a line that means
nothing here is passed over, as it is there, and never keeps the site from being served.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.sites.errors import BrokenSiteFile
from gateway.sites.header_names import SINGLE, refusal
from gateway.sites.path_pattern import PathPattern, path_text

# Generators write a block for each page of a site.
MAX_FILE_BYTES = 256 * 1024
# Paths and headers together: a line of five characters takes some hundred bytes of memory.
MAX_LINES = 5000
# Every response is held against each of these; paths without them are looked up. Cloudflare takes as many.
MAX_WILDCARDS = 100
# A name and its values: what HTTP clients take as one header.
MAX_HEADER = 8190
# All that is added to one response: proxies in front hold the headers in a buffer.
MAX_ADDED = 16 * 1024

# RFC 9110 section 5.6.2 and 5.5; obs-text is left out, since nobody agrees on what it means.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]+")
_URL = re.compile("https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class HeaderRule:
    """What is added where the pattern matches: (name, value) by the name in lower case."""

    number: int
    pattern: PathPattern
    headers: dict[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Ignored:
    """A line that has no effect, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class HeadersFile:
    """The rules by the path that they are for, and those for many paths; without those that add nothing."""

    exact: Mapping[str, Sequence[HeaderRule]] = field(default_factory=dict)
    wildcards: Sequence[HeaderRule] = ()
    ignored: Sequence[Ignored] = ()

    def headers_of(self, segments: Sequence[str]) -> dict[str, tuple[str, str]]:
        """(name, value) by the name in lower case, for a path given by its decoded segments. All rules that
        match count; where two set the same header, the later one."""
        path = path_text(segments)
        found = [rule for rule in self.wildcards if rule.pattern.matches(path)]
        found += self.exact.get(path, ())
        added: dict[str, tuple[str, str]] = {}
        for rule in sorted(found, key=lambda rule: rule.number):
            added |= rule.headers
        if sum(len(name) + len(value) for name, value in added.values()) > MAX_ADDED:
            raise BrokenSiteFile(f"_headers adds more than {MAX_ADDED} characters to one response")
        return added


def parse_headers(data: bytes) -> HeadersFile:
    """BrokenSiteFile where the file is over a limit: what was left out could be what protects the site."""
    if len(data) > MAX_FILE_BYTES:
        raise BrokenSiteFile(too_large())
    reading = _Reading()
    for number, line in enumerate(data.decode("utf-8-sig", "surrogateescape").split("\n"), 1):
        text = line.strip()
        if text and not text.startswith("#"):
            reading.take(number, text)
    return reading.file()


def weight_of(file: HeadersFile) -> int:
    """About how many bytes of memory it takes to keep this."""
    rules = [*file.wildcards, *(rule for rules in file.exact.values() for rule in rules)]
    values = [value for rule in rules for _, value in rule.headers.values()]
    return 600 * (len(rules) + len(values) + len(file.ignored)) + sum(map(len, values))


def too_large() -> str:
    """What is said about a file over the limit."""
    return f"could not parse _headers: headers file size cannot exceed {MAX_FILE_BYTES} bytes"


class _Reading:
    """The rules so far; `_current` are the headers of the last path, None where that means nothing."""

    def __init__(self) -> None:
        self._rules: list[HeaderRule] = []
        self._ignored: list[Ignored] = []
        self._lines = 0
        self._current: dict[str, tuple[str, str]] | None = None

    def file(self) -> HeadersFile:
        exact: dict[str, list[HeaderRule]] = {}
        wildcards: list[HeaderRule] = []
        for rule in self._rules:
            if rule.headers:
                path = rule.pattern.exact
                (wildcards if path is None else exact.setdefault(path, [])).append(rule)
        if len(wildcards) > MAX_WILDCARDS:
            raise BrokenSiteFile(f"could not parse _headers: more than {MAX_WILDCARDS} paths with wildcards")
        return HeadersFile(exact, wildcards, self._ignored)

    def take(self, number: int, text: str) -> None:
        """A line without the white space around it."""
        self._lines += 1
        if self._lines > MAX_LINES:
            raise BrokenSiteFile(
                f"could not parse _headers: more than {MAX_LINES} lines with paths or headers"
            )
        try:
            # Indentation means nothing to Netlify either: what does not begin with `/` is a header.
            if text.startswith("/"):
                self._begin(number, text)
            elif _URL.match(text):
                self._current = None
                raise ValueError("a path begins with '/': headers for single hosts are not supported")
            else:
                self._add(text)
        except ValueError as error:
            self._ignored.append(Ignored(number, str(error)))

    def _begin(self, number: int, text: str) -> None:
        self._current = None
        rule = HeaderRule(number, PathPattern.parse(text), {})
        self._current = rule.headers
        self._rules.append(rule)

    def _add(self, text: str) -> None:
        name, separator, rest = text.partition(":")
        name, value = name.strip(), rest.strip()
        key = name.lower()
        if not separator or not _TOKEN.fullmatch(name):
            raise ValueError("not a header: 'Name: value'")
        if self._current is None:
            raise ValueError("the path that this header is for is missing")
        if not _VALUE.fullmatch(value):
            raise ValueError("the value of a header is visible ASCII text")
        refused = refusal(key, value)
        if refused is not None:
            raise ValueError(refused)
        known = self._current.get(key)
        if known is not None and key not in SINGLE:
            # As Netlify: several lines of one name within a block are one header.
            name, value = known[0], f"{known[1]}, {value}"
        if len(name) + len(value) > MAX_HEADER:
            raise BrokenSiteFile(f"could not parse _headers: a header of more than {MAX_HEADER} characters")
        self._current[key] = (name, value)
