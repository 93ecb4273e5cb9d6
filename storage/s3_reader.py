"""Reading an object of an S3 server: small spans at once, large ones as they come, through every break."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from ipld.blocks import Buffer
from storage.objects import ObjectNotFound
from storage.resilient import Resilience, Transient
from storage.resilient_hedge import Hedge
from storage.s3_http import OpenBody, S3Http

logger = logging.getLogger(__name__)

# Up to this size a span is fetched as a whole, and a second time where the first takes too long.
SMALL_BYTES = 256 * 1024
# A body that breaks off again and again without a single byte in between is given up.
_MOST_BARREN = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """What every read of an S3 store goes through."""

    http: S3Http
    guard: Resilience
    hedge: Hedge
    timeout: float

    async def small(self, key: str, start: int, stop: int) -> tuple[bytes, int]:
        """The bytes, and the size of the object."""

        async def once() -> tuple[bytes, int]:
            return await self.hedge(lambda: self.http.read(key, start, stop))

        return await self.guard.call("read a span", once, self.timeout)

    async def begin(self, key: str, start: int, stop: int, etag: str | None = None) -> OpenBody:
        """An answer whose body is still to come."""
        return await self.guard.call(
            "begin a read", lambda: self.http.get(key, start, stop, etag), self.timeout
        )


class Begun:
    """A span that was asked for when the object was opened."""

    def __init__(self, span: tuple[int, int], small: bytes | None, body: OpenBody | None, size: int) -> None:
        self.span = span
        self.small = small
        self.body = body
        self.size = size

    def take_body(self) -> OpenBody:
        """Whoever takes it closes it."""
        assert self.body is not None
        body, self.body = self.body, None
        return body

    def close(self) -> None:
        if self.body is not None:
            self.body.close()


async def begin(reading: Reading, key: str, span: tuple[int, int]) -> Begun:
    """Raises ObjectNotFound where the object is missing, or shorter than the span."""
    start, stop = span
    if stop - start <= SMALL_BYTES:
        data, size = await reading.small(key, start, stop)
        return Begun(span, data, None, size)
    body = await reading.begin(key, start, stop)
    return Begun(span, None, body, body.size)


class S3Reader:
    """An open object. Its bytes may change unseen, so there is no version."""

    def __init__(self, reading: Reading, key: str, size: int, begun: Begun | None = None) -> None:
        self.size = size
        self.version: object | None = None
        self.descriptor: int | None = None
        self._reading = reading
        self._key = key
        self._begun = begun

    async def read(self, start: int, stop: int) -> AsyncGenerator[Buffer, None]:
        if start >= stop:
            return
        begun, self._begun = self._begun, None
        if begun is None or begun.span != (start, stop):
            if stop > self.size:
                raise ObjectNotFound(f"{self._key} ends at byte {self.size}, {stop} were expected")
            if begun is not None:
                begun.close()
            begun = await begin(self._reading, self._key, (start, stop))
        if begun.small is not None:
            yield begun.small
            return
        async with aclosing(self._stream(begun.take_body(), start, stop)) as pieces:
            async for piece in pieces:
                yield piece

    async def _stream(self, body: OpenBody, start: int, stop: int) -> AsyncGenerator[Buffer, None]:
        """The whole span, although bodies break off: the next one begins at the byte where that was."""
        position, barren = start, 0
        try:
            while position < stop:
                try:
                    async with aclosing(body.pieces()) as pieces:
                        async for piece in pieces:
                            part = memoryview(piece)[: stop - position]
                            position += len(part)
                            barren = 0
                            yield part
                            if position == stop:
                                return
                    raise Transient("a body was cut short")
                except Transient as error:
                    body.close()
                    barren += 1
                    if barren > _MOST_BARREN:
                        raise
                    logger.warning(
                        "read of %s broke at byte %d, goes on there: %s", self._key, position, error
                    )
                body = await self._again(body.etag, position, stop)
        finally:
            body.close()

    async def _again(self, etag: str, position: int, stop: int) -> OpenBody:
        # The same object, or none: half of one and half of another are not what was asked for.
        return await self._reading.begin(self._key, position, stop, etag)
