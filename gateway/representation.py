"""What a response format returns, and the one function that sends it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from aiohttp import hdrs, web
from multidict import CIMultiDict

from gateway.headers import CORS, Validators, Verdict, evaluate, http_date
from gateway.ranges import Multipart, Span, if_range_holds, multipart, parse_range
from gateway.refusals import PreconditionFailed
from gateway.streaming import DEFAULT_LIMITS, WHOLE_BYTES, Outgoing, SendLimits, send_stream, send_whole
from ipld.blocks import Piece
from ipld.pieces import buffers

# `read(0, TO_THE_END)` is how a body of unknown size is read.
TO_THE_END = 2**63 - 1

Read = Callable[[int, int], AsyncGenerator[Piece, None]]

# RFC 9110 section 15.4.5 names what a 304 repeats; what describes the body alone stays away.
_KEPT_ON_304 = (
    hdrs.ETAG,
    hdrs.CACHE_CONTROL,
    hdrs.CONTENT_LOCATION,
    hdrs.VARY,
    hdrs.EXPIRES,
    "X-Ipfs-Path",
    "X-Ipfs-Roots",
    *CORS,
)
_CONDITIONS = (hdrs.IF_MATCH, hdrs.IF_UNMODIFIED_SINCE, hdrs.IF_NONE_MATCH, hdrs.IF_MODIFIED_SINCE)


@dataclass(frozen=True, slots=True, eq=False)
class Representation:
    """One thing that can be sent, whole or in part, as often as wanted: safe to keep and share.

    The body is `body` where it is at hand, else what `read(start, stop)` gives; `size` is None where only
    reading tells, and then there are no ranges. `etag` has its quotes, and `W/` where it is weak. A GET is
    answered with what `later` makes, where there is one.
    """

    content_type: str | None = None
    etag: str | None = None
    size: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    last_modified: float | None = None
    body: bytes | None = None
    read: Read | None = None
    later: Later | None = None
    accept_ranges: bool = True
    status: int = 200
    # Bytes that are held as long as this is kept, beside the body.
    kept_bytes: int = 0
    # The headers of a 200, made once: requests for hot content outnumber representations by far.
    wire: CIMultiDict[str] = field(init=False, repr=False)
    # The same in bytes, once it was wanted; empty where it cannot be had.
    head: bytes | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.body is not None:
            object.__setattr__(self, "size", len(self.body))
        object.__setattr__(self, "wire", _wire(self))

    def keep_head(self, head: bytes) -> None:
        """For the next request."""
        object.__setattr__(self, "head", head)

    @property
    def weight(self) -> int:
        """About how many bytes of memory it takes to keep this, with the head that it may get."""
        head = sum(len(name) + len(value) + 4 for name, value in self.wire.items())
        return 2048 + head + self.kept_bytes + (len(self.body) if self.body is not None else 0)

    @property
    def has_ranges(self) -> bool:
        return self.accept_ranges and self.size is not None and self.status == 200

    def open(self, span: Span) -> AsyncGenerator[Piece, None]:
        """The bytes of a span; nothing is read before the first piece is asked for."""
        if self.body is not None:
            return _slice(self.body, span)
        if self.read is not None:
            return self.read(span.start, span.stop)
        return _slice(b"", span)


@dataclass(slots=True, eq=False)
class Later:
    """Makes the answer to a GET, and says whether it is worth keeping; `keep` is told then."""

    make: Callable[[Representation, SendLimits], Awaitable[tuple[Representation, bool]]]
    keep: Callable[[Representation], None] | None = None

    async def made(self, shown: Representation, limits: SendLimits) -> Representation:
        """The answer with the headers of `shown`. Raises what reading raises, and TimeoutError."""
        made, is_kept = await self.make(shown, limits)
        if is_kept and self.keep is not None:
            self.keep(made)
        return made


def _wire(shown: Representation) -> CIMultiDict[str]:
    wire: CIMultiDict[str] = CIMultiDict(shown.headers)
    wire.update(CORS)
    if shown.content_type is not None:
        wire[hdrs.CONTENT_TYPE] = shown.content_type
    if shown.size is not None:
        wire[hdrs.CONTENT_LENGTH] = str(shown.size)
    if shown.etag is not None:
        wire[hdrs.ETAG] = shown.etag
    if shown.last_modified is not None:
        wire[hdrs.LAST_MODIFIED] = http_date(shown.last_modified)
    wire[hdrs.ACCEPT_RANGES] = "bytes" if shown.has_ranges else "none"
    return wire


async def _slice(body: bytes, span: Span) -> AsyncGenerator[Piece, None]:
    yield memoryview(body)[span.start : span.stop]


async def send(
    request: web.Request, shown: Representation, limits: SendLimits = DEFAULT_LIMITS
) -> web.StreamResponse:
    """Answer with 200, 206 or 304, with or without a body, as the request's method and headers ask.

    Raises PreconditionFailed, MalformedRange and UnsatisfiableRange, and what reading raises before the first
    byte is out. After that a failure breaks the connection and raises BrokenResponse.
    """
    asked = request.headers
    if (
        hdrs.IF_NONE_MATCH in asked
        or hdrs.RANGE in asked
        or hdrs.IF_MODIFIED_SINCE in asked
        or hdrs.IF_MATCH in asked
        or hdrs.IF_UNMODIFIED_SINCE in asked
    ):
        special = await _send_conditional(request, shown, limits)
        if special is not None:
            return special
    body = shown.body
    if request.method == hdrs.METH_HEAD:
        return web.Response(status=shown.status, headers=shown.wire)
    if shown.later is not None:
        # With other headers the conditions may be met otherwise.
        return await send(request, await shown.later.made(shown, limits), limits)
    if body is not None and len(body) <= WHOLE_BYTES:
        return web.Response(body=body, status=shown.status, headers=shown.wire)
    size = shown.size
    span = Span(0, TO_THE_END if size is None else size)
    return await _send_body(request, Outgoing(shown.status, shown.wire, size), shown.open(span), limits)


async def _send_conditional(
    request: web.Request, shown: Representation, limits: SendLimits
) -> web.StreamResponse | None:
    """The answer that conditions and ranges ask for; None where that is the plain one."""
    # RFC 9110 section 13.2.1: conditions count only where the answer without them would be a success.
    if shown.status != 200:
        return None
    reading = request.method in (hdrs.METH_GET, hdrs.METH_HEAD)
    verdict = evaluate(_conditions(request), Validators(shown.etag, shown.last_modified), reading=reading)
    if verdict is Verdict.FAILED:
        raise PreconditionFailed("the content is not the version that the request names")
    if verdict is Verdict.NOT_MODIFIED:
        return web.Response(status=304, headers=_not_modified(shown))
    spans = _spans(request, shown, limits)
    if spans is None:
        return None
    if len(spans) == 1:
        return await _send_part(request, shown, spans[0], limits)
    return await _send_parts(request, shown, spans, limits)


def _conditions(request: web.Request) -> dict[str, str]:
    # RFC 9110 section 5.3: a list may come in several fields of one name.
    asked = request.headers
    return {name: ", ".join(asked.getall(name)) for name in _CONDITIONS if name in asked}


def _not_modified(shown: Representation) -> dict[str, str]:
    kept = {name: shown.wire[name] for name in _KEPT_ON_304 if name in shown.wire}
    if shown.etag is None and hdrs.LAST_MODIFIED in shown.wire:
        kept[hdrs.LAST_MODIFIED] = shown.wire[hdrs.LAST_MODIFIED]
    return kept


def _spans(request: web.Request, shown: Representation, limits: SendLimits) -> list[Span] | None:
    # RFC 9110 section 14.2: GET is the only method that ranges are defined for.
    header = request.headers.get(hdrs.RANGE)
    if header is None or shown.size is None or not shown.has_ranges or request.method != hdrs.METH_GET:
        return None
    if_range = request.headers.get(hdrs.IF_RANGE)
    if not if_range_holds(if_range, shown.etag, shown.last_modified, time.time()):
        return None
    return parse_range(header, shown.size, limits.max_ranges)


async def _send_part(
    request: web.Request, shown: Representation, span: Span, limits: SendLimits
) -> web.StreamResponse:
    headers = shown.wire.copy()
    headers[hdrs.CONTENT_LENGTH] = str(span.size)
    headers[hdrs.CONTENT_RANGE] = span.content_range(shown.size or 0)
    return await _send_body(request, Outgoing(206, headers, span.size), shown.open(span), limits)


async def _send_parts(
    request: web.Request, shown: Representation, spans: Sequence[Span], limits: SendLimits
) -> web.StreamResponse:
    framing = multipart(spans, shown.size or 0, shown.content_type)
    headers = shown.wire.copy()
    headers[hdrs.CONTENT_TYPE] = framing.content_type
    headers[hdrs.CONTENT_LENGTH] = str(framing.length)
    outgoing = Outgoing(206, headers, framing.length)
    return await _send_body(request, outgoing, _read_parts(shown, framing), limits)


async def _read_parts(shown: Representation, framing: Multipart) -> AsyncGenerator[Piece, None]:
    for head, span in framing.parts:
        sent = 0
        async with aclosing(shown.open(span)) as pieces:
            async for piece in pieces:
                # The head waits for its first piece: a part that cannot be read at all is a clean error.
                if not sent:
                    yield head
                sent += len(piece)
                yield piece
        if sent != span.size:
            raise RuntimeError(f"a part of {span.size} bytes came as {sent}")
    yield framing.closing


async def _send_body(
    request: web.Request,
    outgoing: Outgoing,
    pieces: AsyncGenerator[Piece, None],
    limits: SendLimits,
) -> web.StreamResponse:
    if outgoing.length is not None and outgoing.length <= WHOLE_BYTES:
        return await send_whole(outgoing, buffers(pieces), limits)
    return await send_stream(request, outgoing, pieces, limits)
