"""What a reader asks for: the content path, the format and the parameters, read once."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from aiohttp import hdrs, web

from gateway.headers import accepts_html
from gateway.hosts import Kind, Origin
from gateway.negotiation import Format, Wanted, negotiate
from gateway.refusals import BadRequest
from ipld.paths import ContentPath

# Entries of a directory on one page, unless the client says otherwise.
DEFAULT_LIMIT, MAX_LIMIT = 1000, 10_000
# Parameters of a query that are looked at; websites may have more of their own.
MAX_PARAMETERS = 1000

# The content path of a request, percent-encoded, once it was understood.
CONTENT_PATH: web.RequestKey[str] = web.RequestKey("content_path", str)
# Where a request came to, if not to the gateway as a whole.
ORIGIN: web.RequestKey[Origin] = web.RequestKey("origin", Origin)
PATH_ORIGIN = Origin(Kind.PATH)


@dataclass(frozen=True, slots=True)
class ContentRequest:
    """A request for content. `raw_path` and `query` are as the client sent them; on a host that has a content
    root of its own, the path is below that root.

    `html` is whether `Accept` names HTML; `index` whether an index.html is wanted; `limit` and
    `cursor` choose a page of a directory.
    """

    path: ContentPath
    wanted: Wanted
    raw_path: str
    query: str
    filename: str | None = None
    download: bool = False
    cursor: str = ""
    go_get: bool = False
    html: bool = False
    index: bool = True
    limit: str | None = None
    origin: Origin = PATH_ORIGIN

    @classmethod
    def parse(cls, request: web.Request, max_path_bytes: int) -> ContentRequest:
        """Raises InvalidPath, BadRequest and NotAcceptable."""
        raw_path, query = target_of(request)
        origin = request.get(ORIGIN, PATH_ORIGIN)
        path = ContentPath.parse(origin.prefix + raw_path, max_length=max_path_bytes + len(origin.prefix))
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
            cursor=parameters.get("cursor", ""),
            go_get=parameters.get("go-get") == "1",
            html=accepts_html(accept_of(request)),
            index=parameters.get("index") != "false",
            limit=parameters.get("limit"),
            origin=origin,
        )

    def page_limit(self) -> int:
        """Entries of a directory on one page; BadRequest where `limit` is no such number. Not before there is
        a page: websites have parameters of their own."""
        text = self.limit
        if text is None:
            return DEFAULT_LIMIT
        if not (text.isascii() and text.isdecimal() and len(text) <= 6 and 0 < int(text) <= MAX_LIMIT):
            raise BadRequest(f"limit is a number from 1 to {MAX_LIMIT}")
        return int(text)

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
    path, _, query = target.partition("?")
    if not target.startswith("/"):
        parts = urlsplit(target)
        path, query = parts.path or "/", parts.query
    # Two slashes first would make another host of the path, wherever it goes into a Location.
    return ("/" + path.lstrip("/") if path.startswith("//") else path), query


def parse_parameters(query: str) -> dict[str, str]:
    """The last value of each, of the first MAX_PARAMETERS: the others are none of ours."""
    if not query:
        return {}
    first = "&".join(query.split("&", MAX_PARAMETERS)[:MAX_PARAMETERS])
    return dict(parse_qsl(first, keep_blank_values=True))
