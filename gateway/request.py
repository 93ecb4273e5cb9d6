"""What a reader asks for: the content path, the format and the parameters, read once."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from aiohttp import hdrs, web

from gateway.negotiation import Format, Wanted, negotiate
from gateway.refusals import BadRequest
from ipld.paths import ContentPath

# The content path of a request, percent-encoded, once it was understood.
CONTENT_PATH: web.RequestKey[str] = web.RequestKey("content_path", str)


@dataclass(frozen=True, slots=True)
class ContentRequest:
    """A request for content. `raw_path` and `query` are as the client sent them."""

    path: ContentPath
    wanted: Wanted
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
        # From here on errors carry it too (path gateway spec, `X-Ipfs-Path`).
        request[CONTENT_PATH] = path.encoded()
        parameters = parse_parameters(query)
        return cls(
            path=path,
            wanted=negotiate(parameters.get("format"), accept_of(request)),
            raw_path=raw_path,
            query=query,
            filename=parameters.get("filename") or None,
            download=parameters.get("download") == "true",
            cursor=_cursor(parameters.get("cursor", "0")),
            go_get=parameters.get("go-get") == "1",
        )

    @property
    def format(self) -> Format:
        """The response format that was negotiated."""
        return self.wanted.format


def accept_of(request: web.BaseRequest) -> str | None:
    """Everything that the client accepts, as one list."""
    # RFC 9110 section 5.3: a list may come in several fields of one name.
    values = request.headers.getall(hdrs.ACCEPT, [])
    return None if not values else values[0] if len(values) == 1 else ", ".join(values)


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


def _cursor(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise BadRequest("cursor is a number that an earlier page gave")
    return int(text)
