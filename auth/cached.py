"""Keys remembered for less than a second, so that a revocation acts within one on every replica."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from auth.errors import KeysUnavailable
from auth.keys import ApiKey, ApiKeys, KeyRequest, NewKey, hash_secret, is_well_formed
from ipld.ending import end_loop

_log = logging.getLogger(__name__)

TTL_SECONDS = 0.9
FLUSH_SECONDS = 10.0
_ENTRIES = 4096


@asynccontextmanager
async def cached_keys(keys: ApiKeys, flush_seconds: float = FLUSH_SECONDS) -> AsyncIterator[CachedKeys]:
    """A CachedKeys that writes down the last use of keys now and then, and at the end."""
    cached = CachedKeys(keys)
    flusher = asyncio.create_task(_flush_for_ever(cached, flush_seconds))
    try:
        yield cached
    finally:
        await end_loop(flusher)
        await cached.flush()


@dataclass(frozen=True, slots=True)
class _Answer:
    key: ApiKey | None
    until: float


@dataclass(slots=True)
class CachedKeys:
    """ApiKeys in front of ApiKeys. Secrets are remembered by their hash only."""

    keys: ApiKeys
    ttl: float = TTL_SECONDS
    # Apart, so that a flood of wrong keys cannot push out the good ones.
    _good: OrderedDict[bytes, _Answer] = field(default_factory=OrderedDict)
    _bad: OrderedDict[bytes, _Answer] = field(default_factory=OrderedDict)
    _lookups: dict[bytes, asyncio.Task[_Answer]] = field(default_factory=dict)
    _used: dict[UUID, datetime] = field(default_factory=dict)

    async def authenticate(self, secret: str) -> ApiKey | None:
        if not is_well_formed(secret):
            return None
        digest = hash_secret(secret)
        answer = self._good.get(digest) or self._bad.get(digest)
        if answer is None or answer.until <= asyncio.get_running_loop().time():
            answer = await self._look_up(digest, secret)
        return self._use(answer)

    async def create(self, request: KeyRequest) -> NewKey:
        new = await self.keys.create(request)
        self._bad.pop(hash_secret(new.secret), None)
        return new

    async def list(self) -> Collection[ApiKey]:
        return await self.keys.list()

    async def revoke(self, wanted: str) -> ApiKey:
        key = await self.keys.revoke(wanted)
        self._good.clear()
        return key

    async def is_good(self, key: UUID) -> bool:
        return await self.keys.is_good(key)

    async def touch(self, used: Mapping[UUID, datetime]) -> None:
        await self.keys.touch(used)

    async def flush(self) -> None:
        """Write the last uses in one statement; what cannot be written is kept for the next time."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            await self.keys.touch(used)
        except KeysUnavailable:
            self._used = used | self._used
            _log.warning("the last use of %d keys could not be written", len(used))

    def _use(self, answer: _Answer) -> ApiKey | None:
        key = answer.key
        if key is None:
            return None
        now = datetime.now(UTC)
        if not key.is_good(now):
            return None
        self._used[key.id] = now
        return key

    async def _look_up(self, digest: bytes, secret: str) -> _Answer:
        """One lookup for all who ask at once; shielded, so that one who leaves fails nobody."""
        lookup = self._lookups.get(digest)
        if lookup is not None:
            answer = await asyncio.shield(lookup)
            # A lookup that took long may have begun before a revocation that this request came after.
            if asyncio.get_running_loop().time() < answer.until:
                return answer
        if digest not in self._lookups:
            self._lookups[digest] = asyncio.create_task(self._ask(digest, secret))
            self._lookups[digest].add_done_callback(_retrieve)
        return await asyncio.shield(self._lookups[digest])

    async def _ask(self, digest: bytes, secret: str) -> _Answer:
        # Counted from before the question: an answer is never older than its time to live.
        until = asyncio.get_running_loop().time() + self.ttl
        try:
            answer = _Answer(await self.keys.authenticate(secret), until)
        finally:
            del self._lookups[digest]
        self._remember(digest, answer)
        return answer

    def _remember(self, digest: bytes, answer: _Answer) -> None:
        kept, other = (self._bad, self._good) if answer.key is None else (self._good, self._bad)
        other.pop(digest, None)
        kept[digest] = answer
        kept.move_to_end(digest)
        if len(kept) > _ENTRIES:
            kept.popitem(last=False)


def _retrieve(lookup: asyncio.Task[_Answer]) -> None:
    """Every waiter may have left; asyncio would report the exception as one that nobody saw."""
    if not lookup.cancelled():
        lookup.exception()


async def _flush_for_ever(cached: CachedKeys, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        await cached.flush()
