"""What a reader asks for: the content path, the format and the parameters, read once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl, urlsplit

from aiohttp import hdrs, web

from gateway.refusals import BadRequest, NotAcceptable
from ipld.paths import ContentPath


class Format(StrEnum):
    """The response formats, by their name in `?format=`; UNIXFS has none."""

    UNIXFS = ""
    RAW = "raw"


_NAMES = {format.value: format for format in Format}
_MEDIA_TYPES = {"application/vnd.ipld.raw": Format.RAW}
# Names of formats that the specs know and this gateway does not serve.
_UNSERVED = frozenset({"car", "tar", "dag-json", "dag-cbor", "ipns-record"})


@dataclass(frozen=True, slots=True)
class ContentRequest:
    """A request for content. `raw_path` and `query` are as the client sent them."""

    path: ContentPath
    format: Format
    raw_path: str
    query: str
    filename: str | None = None
    download: bool = False
    cursor: int = 0
    go_get: bool = False

    @classmethod
    def parse(cls, request: web.Request, max_path_bytes: int) -> ContentRequest:
        """Raises InvalidPath, BadRequest and NotAcceptable."""
        raw_path, query = target_of(request)
        path = ContentPath.parse(raw_path, max_length=max_path_bytes)
        parameters = parse_parameters(query)
        return cls(
            path=path,
            format=_format(parameters, request.headers.get(hdrs.ACCEPT)),
            raw_path=raw_path,
            query=query,
            filename=parameters.get("filename") or None,
            download=parameters.get("download") == "true",
            cursor=_cursor(parameters.get("cursor", "0")),
            go_get=parameters.get("go-get") == "1",
        )


def target_of(request: web.Request) -> tuple[str, str]:
    """The path and the query, byte for byte; an absolute-form target loses its origin."""
    target = request.raw_path
    if not target.startswith("/"):
        parts = urlsplit(target)
        return parts.path or "/", parts.query
    path, _, query = target.partition("?")
    return path, query


def parse_parameters(query: str) -> dict[str, str]:
    """The last value of each parameter; BadRequest where there are too many."""
    if not query:
        return {}
    try:
        return dict(parse_qsl(query, keep_blank_values=True, max_num_fields=100))
    except ValueError as error:
        raise BadRequest("the query has more than 100 parameters") from error


def _format(parameters: dict[str, str], accept: str | None) -> Format:
    """`?format=` counts before `Accept` (IPIP-0523); one that nobody knows is no request at all."""
    wanted = parameters.get("format")
    if wanted in _UNSERVED:
        raise NotAcceptable(f"the format {wanted} is not served here; ask for format=raw")
    if wanted and wanted in _NAMES:
        return _NAMES[wanted]
    for entry in (accept or "").split(","):
        media_type = entry.partition(";")[0].strip().lower()
        if media_type in _MEDIA_TYPES:
            return _MEDIA_TYPES[media_type]
    return Format.UNIXFS


def _cursor(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise BadRequest("cursor is a number that an earlier page gave")
    return int(text)
