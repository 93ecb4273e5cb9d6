"""Reading `_redirects` (web-redirects-file spec, "File Format"): text in, rules out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.sites.errors import BrokenSiteFile
from gateway.sites.percent import decoded_strictly, encoded_url

# The spec's own limit.
MAX_FILE_BYTES = 64 * 1024
# Of `from` and of `to`: no request path is longer, and no client takes a longer Location.
MAX_TEXT = 8192

SPLAT = "splat"
REWRITE = 200
ERROR_PAGES = frozenset((404, 410, 451))
_STATUSES: Mapping[str, int] = {
    str(status): status for status in (REWRITE, 301, 302, 303, 307, 308, *sorted(ERROR_PAGES))
}
_DEFAULT_STATUS = 301
_SCHEMES = frozenset(("http", "https", "ipfs", "ipns"))
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_AUTHORITY_END = re.compile("[/?#]")


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A segment of `from` that matches any one segment."""

    name: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One line. `segments` are decoded; `splat` is what must come before the trailing asterisk within its
    segment, None where there is none. `to` is percent-encoded and still has its placeholders."""

    line: int
    segments: tuple[str | Placeholder, ...]
    splat: str | None
    to: str
    status: int

    @property
    def names(self) -> list[str]:
        """What `to` may name."""
        named = [segment.name for segment in self.segments if isinstance(segment, Placeholder)]
        return named if self.splat is None else [*named, SPLAT]


def parse_redirects(data: bytes) -> tuple[Rule, ...]:
    """The rules in their order; BrokenSiteFile names the line and what is wrong with it."""
    if len(data) > MAX_FILE_BYTES:
        raise BrokenSiteFile(too_large())
    rules: list[Rule] = []
    # A comment in another encoding does no harm.
    for number, line in enumerate(data.decode("utf-8-sig", "surrogateescape").split("\n"), 1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        try:
            rules.append(_rule(number, fields))
        except ValueError as error:
            raise BrokenSiteFile(f"could not parse _redirects: line {number}: {error}") from error
    return tuple(rules)


def too_large() -> str:
    """What is said about a file over the limit."""
    return f"could not parse _redirects: redirects file size cannot exceed {MAX_FILE_BYTES} bytes"


def _rule(line: int, fields: Sequence[str]) -> Rule:
    if len(fields) == 1:
        raise ValueError("'to' is missing")
    if len(fields) > 3:
        raise ValueError("a rule is 'from to [status]'")
    for text in fields[:2]:
        _check_text(text)
    status = _status(fields[2]) if len(fields) == 3 else _DEFAULT_STATUS
    segments, splat = _from(fields[0])
    rule = Rule(line, segments, splat, encoded_url(fields[1]), status)
    _check_names(rule)
    _check_to(rule)
    return rule


def _check_text(text: str) -> None:
    if len(text) > MAX_TEXT:
        raise ValueError(f"a path of more than {MAX_TEXT} characters")
    if _CONTROL.search(text):
        raise ValueError("a path has no control characters")
    try:
        text.encode()
    except UnicodeError as error:
        raise ValueError("not UTF-8") from error


def _status(text: str) -> int:
    if text.removesuffix("!") in _STATUSES and text.endswith("!"):
        raise ValueError(f"forced redirects ({text}) are not supported")
    if text not in _STATUSES:
        raise ValueError(f"status {text[:20]!a} is not supported")
    return _STATUSES[text]


def _from(text: str) -> tuple[tuple[str | Placeholder, ...], str | None]:
    if not text.startswith("/"):
        raise ValueError("'from' is a path that begins with '/'")
    if "?" in text or "#" in text:
        raise ValueError("'from' is a path, without a query or a fragment")
    # Section "Catch-All Splat": only one asterisk, and only at the end.
    if text.count("*") > 1 or ("*" in text and not text.endswith("*")):
        raise ValueError("'from' can have one asterisk, at its end")
    parts = text.split("/")
    splat = decoded_strictly(parts.pop()[:-1]) if text.endswith("*") else None
    if splat is not None and splat.startswith(":"):
        raise ValueError("an asterisk cannot follow a placeholder in one segment")
    return tuple(_segment(part) for part in parts if part), splat


def _segment(part: str) -> str | Placeholder:
    if not part.startswith(":"):
        return decoded_strictly(part)
    name = part[1:]
    # Without colons in names, what `to` names is found in one pass.
    if not name or ":" in name:
        raise ValueError(f"{part[:40]!a} is not a placeholder")
    return Placeholder(encoded_url(name))


def _check_names(rule: Rule) -> None:
    seen: set[str] = set()
    for name in rule.names:
        if name in seen:
            raise ValueError(f"placeholder {':' + name[:40]!a} is there twice in 'from'")
        seen.add(name)


def _check_to(rule: Rule) -> None:
    if rule.to.startswith("/"):
        return
    scheme, separator, rest = rule.to.partition("://")
    if not separator or scheme.lower() not in _SCHEMES:
        raise ValueError("'to' is a path that begins with '/', or a URL of http, https, ipfs or ipns")
    if rule.status == REWRITE or rule.status in ERROR_PAGES:
        raise ValueError(f"status {rule.status} needs a path of this site in 'to', not a URL")
    host = _AUTHORITY_END.split(rest, maxsplit=1)[0]
    if not host:
        raise ValueError("the URL in 'to' has no host")
    # Spec: they are injected into the path. In the host they would let any link choose where it leads.
    if any(f":{name}" in host for name in rule.names):
        raise ValueError("the host of a URL in 'to' can have no placeholder")
