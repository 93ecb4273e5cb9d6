"""The body of an upload as a stream that keeps to its limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

from aiohttp import ClientPayloadError, HttpVersion11, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from auth.errors import Unauthenticated
from auth.middleware import identity_of
from gateway.context import GATEWAY
from gateway.refusals import (
    BodyCutShort,
    ExpectationFailed,
    PayloadTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
)

T = TypeVar("T")


def check_declared(request: web.Request) -> None:
    """Refuse what the headers already show to be too much, before a byte of it is read."""
    limit = request.app[GATEWAY].limits.upload_bytes
    if request.content_length is not None and request.content_length > limit:
        raise PayloadTooLarge(f"{request.content_length} bytes are announced, {limit} are allowed")
    expected = request.headers.get(hdrs.EXPECT, "100-continue")
    if expected.lower() != "100-continue":
        raise ExpectationFailed("only 100-continue can be expected")
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower()
    if encoding != "identity":
        # The bytes are the content, so unpacking them would change the CID; and a bomb is a bomb.
        raise UnsupportedMediaType(f"Content-Encoding {encoding} is not taken: send the bytes as they are")


async def continue_later(_: web.Request) -> None:
    """For `expect_handler`: nothing is asked for before somebody wants to read the body.

    So whatever is refused before that (key, limits, length, type) never uploads a byte.
    """


def begin_body(request: web.Request) -> BodyMeter:
    """Ask for the body, if the client waits for that (RFC 9110 section 10.1.1), and measure it.

    Raises what `check_declared` raises.
    """
    check_declared(request)
    if hdrs.EXPECT in request.headers and request.version >= HttpVersion11 and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return BodyMeter(request)


class BodyMeter:
    """Lets a body through as long as it keeps to the limits of size, time and silence."""

    def __init__(self, request: web.Request) -> None:
        gateway = request.app[GATEWAY]
        self._limits = gateway.limits
        self._received = gateway.metrics.received
        self._deadline = time.monotonic() + gateway.limits.upload_seconds
        self._bytes = 0

    async def next(self, read: Callable[[], Awaitable[bytes]]) -> bytes:
        """The next bytes that `read` gives, none at the end.

        Raises PayloadTooLarge, RequestTimeout and BodyCutShort.
        """
        chunk = await self.patiently(read)
        self._bytes += len(chunk)
        if self._bytes > self._limits.upload_bytes:
            raise PayloadTooLarge(f"the body is over the {self._limits.upload_bytes} bytes that are allowed")
        self._received.inc(len(chunk))
        return chunk

    async def patiently(self, read: Callable[[], Awaitable[T]]) -> T:
        """What `read` gives, if that comes in time. Raises RequestTimeout and BodyCutShort."""
        left = self._deadline - time.monotonic()
        try:
            async with asyncio.timeout(min(left, self._limits.upload_idle_seconds)):
                return await read()
        except TimeoutError as error:
            raise RequestTimeout("the upload took too long, or stood still") from error
        except (ConnectionError, ClientPayloadError, HttpProcessingError) as error:
            raise BodyCutShort("the body ended before it was complete") from error


async def read_body(request: web.Request) -> AsyncGenerator[bytes, None]:
    """The body in pieces; its end is reached only while the key is still good."""
    meter = begin_body(request)
    content = request.content

    async def read() -> bytes:
        # As it came from the socket: `readany` would copy what it joins.
        data, _ = await content.readchunk()
        return data

    while not content.at_eof():
        chunk = await meter.next(read)
        if chunk:
            yield chunk
    await check_still_allowed(request)


async def check_still_allowed(request: web.Request) -> None:
    """A key that was revoked while its upload ran ends nothing well."""
    key = identity_of(request).key
    if key is not None and not await request.app[GATEWAY].keys.is_good(key.id):
        raise Unauthenticated("UNAUTHORIZED", "The API key was revoked during the upload.")
