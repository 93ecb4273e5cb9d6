"""An object of an S3 server in the making: one PUT where it is small, parts in parallel where it is not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote

from ipld.blocks import Buffer
from ipld.cid import Cid
from ipld.errors import StoreFull, StoreUnavailable
from storage.objects import ObjectNotFound, Receipt
from storage.resilient import Resilience
from storage.s3_account import MAX_PARTS, S3Limits
from storage.s3_client import S3Client
from storage.s3_errors import UploadLost
from storage.s3_http import S3Http
from storage.uninterrupted import uninterrupted

logger = logging.getLogger(__name__)

# Hashing less than this takes less time than a visit to another thread.
_HASH_IN_THREAD_BYTES = 32 * 1024
# Slower than this a part is given up and sent again.
_SLOWEST_BYTES_PER_SECOND = 64 * 1024
_ABORT_AGAIN_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Writing:
    """What every write to an S3 store goes through; `slots` are the parts on their way, of all uploads."""

    client: S3Client
    http: S3Http
    guard: Resilience
    limits: S3Limits
    slots: asyncio.Semaphore

    async def put(
        self, key: str, query: str, body: bytearray, metadata: Mapping[str, str]
    ) -> Mapping[str, str]:
        """The headers of the answer."""
        if len(body) < _HASH_IN_THREAD_BYTES:
            digest = sha256(body).hexdigest()
        else:
            digest = await asyncio.to_thread(lambda: sha256(body).hexdigest())
        timeout = self.limits.timeout + len(body) / _SLOWEST_BYTES_PER_SECOND
        return await self.guard.call(
            "store bytes", lambda: self.http.put(key, query, body, digest, metadata), timeout
        )


class S3Writer:
    """Holds the part that is being filled, and the first ones as long as the head is not known.

    After a commit `answered` are the headers of the PUT, none where there were several.
    """

    def __init__(self, writing: Writing, key: str, head_size: int, metadata: Mapping[str, str]) -> None:
        self.key = key
        self.size = head_size
        self.answered: Mapping[str, str] = {}
        self._writing = writing
        self._head_size = head_size
        self._metadata = metadata
        self._part = bytearray()
        self._has_room_for_head = head_size == 0
        self._held: list[bytearray] = []
        self._etags: dict[int, str] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._parts = 0
        self._upload_id: str | None = None
        self._failed: BaseException | None = None
        self._finishing = False
        self._committed = False

    async def write(self, data: Buffer) -> None:
        self.size += len(data)
        await self._make_room_for_head()
        await self._append(memoryview(data))

    async def _make_room_for_head(self) -> None:
        if not self._has_room_for_head:
            self._has_room_for_head = True
            await self._append(memoryview(bytes(self._head_size)))

    async def _append(self, view: memoryview) -> None:
        whole = self._writing.limits.part_bytes
        while view:
            # A part goes only once there is more: what fits into one is no multipart upload.
            if len(self._part) >= whole:
                await self._next_part()
            room = whole - len(self._part)
            self._part += view[:room]
            view = view[room:]

    async def commit(self, head: bytes, root: Cid | None = None) -> Receipt:
        if len(head) != self._head_size:
            raise ValueError(f"the head has {len(head)} bytes, {self._head_size} were announced")
        await self._make_room_for_head()
        if not self._parts:
            self._part[: len(head)] = head
            self._finishing = True
            put = self._writing.put(self.key, "", self._part, self._metadata)
            self.answered = await uninterrupted(put)
        else:
            self._fill_held(head)
            for number, part in enumerate(self._held, start=1):
                await self._send(number, part)
            self._parts += 1
            await self._send(self._parts, self._part)
            await self._all_sent()
            self._finishing = True
            await uninterrupted(self._complete())
        self._committed = True
        self._drop()
        return Receipt()

    async def abort(self) -> None:
        if self._committed:
            return
        was_sending = bool(self._sending)
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        self._drop()
        upload_id, self._upload_id = self._upload_id, None
        is_doubtful, self._finishing = self._finishing, False
        client = self._writing.client
        if upload_id is not None:
            await self._try_to("abort an upload", lambda: client.abort_upload(self.key, upload_id))
            if was_sending:
                # A part that was on its way may have arrived meanwhile: S3 says to abort once more then.
                await asyncio.sleep(_ABORT_AGAIN_SECONDS)
                await self._try_to("abort an upload", lambda: client.abort_upload(self.key, upload_id))
        if is_doubtful:
            # Its answer was lost, or nobody waited for it: it may have become visible.
            await self._try_to("delete an object", lambda: client.delete(self.key))

    async def _try_to(self, what: str, attempt: Callable[[], Awaitable[None]]) -> None:
        try:
            await self._writing.guard.call(what, attempt, self._writing.limits.timeout)
        except (StoreUnavailable, ObjectNotFound) as error:
            logger.info("after a failed upload of %s: %s", self.key, error)

    async def _next_part(self) -> None:
        if self._parts + 1 >= MAX_PARTS:
            raise StoreFull(f"an object has at most {MAX_PARTS} parts of {len(self._part)} bytes")
        part, self._part = self._part, bytearray()
        self._parts += 1
        if (self._parts - 1) * self._writing.limits.part_bytes < self._head_size:
            self._held.append(part)
        else:
            await self._send(self._parts, part)

    def _fill_held(self, head: bytes) -> None:
        whole, rest = self._writing.limits.part_bytes, head
        for part in [*self._held, self._part]:
            part[: min(whole, len(rest))] = rest[:whole]
            rest = rest[whole:]

    async def _send(self, number: int, part: bytearray) -> None:
        """Begin to send a part; waits while too many are on their way."""
        if self._upload_id is None:
            self._upload_id = await self._begin()
        # Taken here, so that whoever fills parts waits, and given back once the part has left memory.
        await self._writing.slots.acquire()
        if self._failed is not None:
            self._writing.slots.release()
            raise self._failed
        task = asyncio.create_task(self._send_part(self._upload_id, number, part))
        self._sending.add(task)
        task.add_done_callback(self._sent)

    async def _begin(self) -> str:
        return await self._writing.guard.call(
            "begin an upload",
            lambda: self._writing.client.begin_upload(self.key, self._metadata),
            self._writing.limits.timeout,
        )

    async def _send_part(self, upload_id: str, number: int, part: bytearray) -> None:
        query = f"partNumber={number}&uploadId={quote(upload_id, safe='-_.~')}"
        answered = await self._writing.put(self.key, query, part, {})
        self._etags[number] = answered["ETag"]

    def _sent(self, task: asyncio.Task[None]) -> None:
        # Here and not in the task, which does not run at all where it is cancelled early.
        self._writing.slots.release()
        self._sending.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failed = self._failed or task.exception()

    async def _all_sent(self) -> None:
        while self._sending and self._failed is None:
            await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)
        if self._failed is not None:
            raise self._failed

    async def _complete(self) -> None:
        writing = self._writing
        upload_id = self._upload_id
        assert upload_id is not None
        etags = [self._etags[number] for number in sorted(self._etags)]
        try:
            await writing.guard.call(
                "complete an upload",
                lambda: writing.client.complete_upload(self.key, upload_id, etags),
                writing.limits.complete_timeout,
            )
        except UploadLost:
            # A try whose answer was lost has done it.
            head = await writing.guard.call(
                "look at an object", lambda: writing.client.head(self.key), writing.limits.timeout
            )
            if head.info.size != self.size:
                raise

    def _drop(self) -> None:
        self._part = bytearray()
        self._held.clear()
