"""Which response format a request means: `?format=` before `Accept`, and the better-liked before others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Format(StrEnum):
    """The response formats, by their name in `?format=`; UNIXFS has none."""

    UNIXFS = ""
    RAW = "raw"
    CAR = "car"
    TAR = "tar"
    ZIP = "zip"
    JSON = "json"
    CBOR = "cbor"
    DAG_JSON = "dag-json"
    DAG_CBOR = "dag-cbor"
    DIR_JSON = "dir-json"
    IPNS_RECORD = "ipns-record"


MEDIA_TYPES: Mapping[str, Format] = {
    "application/vnd.ipld.raw": Format.RAW,
    "application/vnd.ipld.car": Format.CAR,
    "application/x-tar": Format.TAR,
    "application/zip": Format.ZIP,
    "application/json": Format.JSON,
    "application/cbor": Format.CBOR,
    "application/vnd.ipld.dag-json": Format.DAG_JSON,
    "application/vnd.ipld.dag-cbor": Format.DAG_CBOR,
    "application/vnd.cidgate.dir+json": Format.DIR_JSON,
    "application/vnd.ipfs.ipns-record": Format.IPNS_RECORD,
}
_NAMES = {member.value: member for member in Format if member.value}
# Of an `Accept`, from the first; browsers send less than ten.
MAX_ENTRIES = 100
# A client that would take anything, or HTML, wants what a browser gets.
_PLAIN = frozenset({"*/*", "text/html", "application/xhtml+xml"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """The format, the parameters of its entry in `Accept`, and whether `Accept` alone chose it."""

    format: Format
    parameters: Mapping[str, str] = field(default_factory=dict)
    by_accept: bool = False
    # Neither `?format=` nor an `Accept` that names anything.
    nothing_asked: bool = False


@dataclass(frozen=True, slots=True)
class _Entry:
    media_type: str
    parameters: Mapping[str, str]
    quality: float


def negotiate(query_format: str | None, accept: str | None) -> Wanted:
    """`?format=` wins (IPIP-0523), and one that nobody knows is no request at all: image services
    append things like `format=webp`. The parameters in `Accept` count where its type is the same.
    """
    entries = _entries(accept) if accept else []
    if query_format is not None and query_format in _NAMES:
        named = _NAMES[query_format]
        same = (entry.parameters for entry in entries if MEDIA_TYPES.get(entry.media_type) is named)
        return Wanted(named, next(same, {}))
    for entry in entries:
        if entry.media_type in MEDIA_TYPES:
            return Wanted(MEDIA_TYPES[entry.media_type], entry.parameters, by_accept=True)
        if entry.media_type in _PLAIN:
            break
    named_any = query_format in _NAMES or any(entry.media_type != "*/*" for entry in entries)
    return Wanted(Format.UNIXFS, nothing_asked=not named_any)


def accepts(accept: str | None, media_type: str) -> bool:
    """Whether a client takes a type: it names it, or all of its kind, or has no wishes."""
    entries = _entries(accept) if accept else []
    kind = media_type.partition("/")[0]
    wanted = (media_type, f"{kind}/*", "*/*")
    return not accept or any(entry.media_type in wanted for entry in entries)


def _entries(accept: str) -> list[_Entry]:
    """What the client likes, the best first; equal ones in its order (RFC 9110 section 12.5.1)."""
    parts = accept.split(",", MAX_ENTRIES)[:MAX_ENTRIES]
    entries = [entry for part in parts if (entry := _entry(part)) is not None]
    # A type that is named comes before `*/*` of the same quality.
    return sorted(entries, key=lambda entry: (-entry.quality, entry.media_type == "*/*"))


def _entry(part: str) -> _Entry | None:
    media_type, *rest = (piece.strip() for piece in part.split(";"))
    parameters = {
        name.strip().lower(): value.strip().strip('"')
        for name, separator, value in (piece.partition("=") for piece in rest)
        if separator
    }
    try:
        quality = float(parameters.pop("q", "1"))
    except ValueError:
        quality = 0.0
    if not media_type or not 0 < quality <= 1:
        return None
    return _Entry(media_type.lower(), parameters, quality)
