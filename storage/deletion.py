"""Deleting objects that the index no longer points to: now if possible, and otherwise later."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from ipld.errors import StoreUnavailable
from storage.index import Index
from storage.objects import INCOMING_KEY, OUR_KEY, ObjectStore

logger = logging.getLogger(__name__)

Later = Callable[[str], Awaitable[None]]


class Deletion:
    """An object goes from the index first, which notes its key as abandoned; then from the store; then
    the note goes. Whatever interrupts this, the note is left, and the sweep or a job goes on from it.

    `later` is told of keys that could not be deleted, and makes the job. What has a key that this program
    does not make is never deleted, whatever the notes say: others put it there.
    """

    def __init__(self, objects: ObjectStore, index: Index, later: Later | None = None) -> None:
        self._objects = objects
        self._index = index
        self._later = later

    async def now_or_later(self, key: str) -> None:
        """Never raises StoreUnavailable: what the caller wanted is done already."""
        if await self.now(key) or self._later is None:
            return
        try:
            await self._later(key)
        except StoreUnavailable as error:
            logger.warning("%s is left to the sweep: %s", key, error)

    async def now(self, key: str) -> bool:
        """Whether that worked; where it did not, the next sweep tries again."""
        try:
            await self._delete(key)
        except StoreUnavailable as error:
            logger.warning("%s could not be deleted yet: %s", key, error)
            return False
        return True

    async def again(self, key: str) -> None:
        """For the job. Does nothing where the key was settled meanwhile. Raises StoreUnavailable."""
        if await self._index.abandon(key):
            await self._delete(key)

    async def of_a_failure(self, key: str, *, may_come: bool) -> None:
        """Delete what an upload that failed has left. Never raises StoreUnavailable.

        With `may_come` a request that nobody waits for any more may still be carried out, and the object
        come after it was deleted: it is noted anew then, and the sweep deletes it once more.
        """
        try:
            # Swept already, and perhaps written after that: then nothing else would ever remove it.
            if await self._index.abandon(key) or not await self._index.known([key]):
                await self.now(key)
                if may_come:
                    await self._index.begin(key)
        except StoreUnavailable:
            logger.warning("an upload that failed left %s to the next sweep", key)

    async def _delete(self, key: str) -> None:
        if OUR_KEY.fullmatch(key) or INCOMING_KEY.fullmatch(key):
            await self._objects.delete(key)
        else:
            logger.error("%s was to be deleted, and is left: its key is none of this program's", key)
        await self._index.settle(key)
