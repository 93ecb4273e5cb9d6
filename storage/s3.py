"""An object store in a bucket of any S3 server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from storage.direct_uploads import Signer
from storage.objects import OUR_KEY, ObjectInfo, ObjectNotFound
from storage.resilient import Patience, Resilience
from storage.resilient_hedge import Hedge
from storage.s3_account import S3Account, S3Limits
from storage.s3_client import ObjectHead, OpenUpload, S3Client, open_client
from storage.s3_errors import StoreRefused
from storage.s3_http import S3Http, open_http
from storage.s3_reader import Reading, S3Reader, begin
from storage.s3_writer import S3Writer, Writing
from storage.uninterrupted import uninterrupted

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class S3Events:
    """Told of what an operator counts: each retry, each hedged read, and 1 or 0 as the breaker opens
    or closes."""

    retry: Callable[[], None] = lambda: None
    hedge: Callable[[], None] = lambda: None
    breaker: Callable[[float], None] = lambda _: None


class S3Objects:
    """Objects under the keys of a bucket."""

    # An answer is streamed, so a long run costs no memory, and each run costs a round trip.
    run_bytes = 64 * 1024 * 1024

    def __init__(
        self, client: S3Client, http: S3Http, guard: Resilience, limits: S3Limits, events: S3Events
    ) -> None:
        self.guard = guard
        # Addresses are made without asking the server.
        self.signer: Signer = client
        self._client = client
        self._limits = limits
        self._reading = Reading(http, guard, Hedge(on_hedge=events.hedge), limits.timeout)
        self._writing = Writing(client, http, guard, limits, asyncio.Semaphore(limits.parts_at_once))

    @asynccontextmanager
    async def create(
        self, key: str, head_size: int = 0, metadata: Mapping[str, str] | None = None
    ) -> AsyncGenerator[S3Writer, None]:
        """`metadata` is stored with the object, under lower-case names."""
        writer = S3Writer(self._writing, key, head_size, metadata or {})
        try:
            yield writer
        finally:
            await uninterrupted(writer.abort())

    @asynccontextmanager
    async def open(self, key: str, first: tuple[int, int] | None = None) -> AsyncGenerator[S3Reader, None]:
        if first is None or first[0] >= first[1]:
            yield S3Reader(self._reading, key, (await self.head(key)).size)
            return
        begun = await begin(self._reading, key, first)
        try:
            yield S3Reader(self._reading, key, begun.size, begun)
        finally:
            begun.close()

    async def head(self, key: str) -> ObjectInfo:
        return (await self.describe(key)).info

    async def describe(self, key: str) -> ObjectHead:
        """Size, time and metadata. Raises ObjectNotFound."""
        return await self._call("look at an object", lambda: self._client.head(key))

    async def delete(self, key: str) -> None:
        try:
            await self._call("delete an object", lambda: self._client.delete(key))
        except ObjectNotFound:
            return

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectInfo]:
        token: str | None = None
        while True:
            page = await self._call("list objects", partial(self._client.page, prefix, after, token))
            for info in page.objects:
                yield info
            token = page.token
            if token is None:
                return

    async def check(self) -> None:
        """Whether the bucket is there and our key may list it; raises StoreUnavailable."""
        await self.guard.call(
            "list a bucket", lambda: self._client.page("", "", None, 1), self._limits.timeout, tries=1
        )

    async def remove_unfinished(self, older_than: float) -> int:
        return await self.abort_stale(older_than, _is_ours)

    async def abort_stale(self, older_than: float, is_ours: Callable[[str], bool]) -> int:
        """Remove the parts of uploads of ours that were begun that many seconds ago and never finished."""
        before = time.time() - older_than
        stale: set[OpenUpload] = set()
        try:
            async for each in self._open_uploads():
                if each.begun < before and is_ours(each.key):
                    stale.add(each)
        except StoreRefused as error:
            logger.info("the object store does not list unfinished uploads: %s", error)
        for each in stale:
            with suppress(StoreRefused, ObjectNotFound):
                await self._call(
                    "abort an upload", partial(self._client.abort_upload, each.key, each.upload_id)
                )
        return len(stale)

    async def _open_uploads(self) -> AsyncIterator[OpenUpload]:
        """Those of everybody; some servers know no pages, and give the first one again and again."""
        after = ""
        while page := await self._call("list uploads", partial(self._client.open_uploads, after)):
            for each in page:
                yield each
            if page[-1].key <= after:
                return
            after = page[-1].key

    async def _call(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        return await self.guard.call(what, attempt, self._limits.timeout)


def _is_ours(key: str) -> bool:
    return OUR_KEY.fullmatch(key) is not None


@asynccontextmanager
async def open_s3(
    account: S3Account,
    limits: S3Limits | None = None,
    patience: Patience | None = None,
    events: S3Events | None = None,
) -> AsyncGenerator[S3Objects, None]:
    """A bucket, over one client and one session that are closed when the block is left."""
    limits, events = limits or S3Limits(), events or S3Events()
    guard = Resilience("the object store", patience, on_retry=events.retry, on_open=events.breaker)
    async with open_client(account, limits) as client, open_http(account, limits, client) as http:
        yield S3Objects(client, http, guard, limits, events)
