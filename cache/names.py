"""What names lead to, remembered for as long as their records say."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace

from cache.memory import MemoryCache
from ipld.errors import NameNotFound
from ipld.names import NameResolver, ResolvedName
from naming.names import canonical_name, is_key

# IPNS records lie in the database, where every gateway finds what another one publishes: asked there again
# after so long, whatever their TTL.
KEY_SECONDS = 1.0
# An answer, beyond its text: the path and its parts as objects.
_ANSWER_BYTES = 500


@dataclass(frozen=True, slots=True)
class NameLimits:
    """`bytes` bounds what is remembered; times in seconds. `max_ttl` bounds what records say, as Kubo's
    Ipns.MaxCacheTTL; `negative_ttl` is how long a name that leads nowhere is not asked for again."""

    bytes: int = 4 * 1024 * 1024
    max_ttl: float = 86_400.0
    negative_ttl: float = 10.0


@dataclass(frozen=True, slots=True)
class _Kept:
    """`until` is how long the answer holds, `recheck` how long this process relies on it."""

    found: ResolvedName
    until: float
    recheck: float


@dataclass(slots=True)
class _Lookup:
    task: asyncio.Task[ResolvedName]
    waiting: int = 0


class CachedNames:
    """A NameResolver in front of another.

    An answer carries the time that is left of it. Equal lookups under way are one, which ends when
    nobody waits for it any more.
    """

    def __init__(self, inner: NameResolver, limits: NameLimits | None = None) -> None:
        self._inner = inner
        self._limits = limits or NameLimits()
        # Apart, so that a flood of names that nobody has cannot push out those in use.
        self._found: MemoryCache[_Kept] = MemoryCache(self._limits.bytes // 2)
        self._missing: MemoryCache[tuple[str, float]] = MemoryCache(self._limits.bytes // 2)
        self._lookups: dict[str, _Lookup] = {}

    async def resolve(self, name: str) -> ResolvedName:
        name = canonical_name(name)
        now = time.monotonic()
        kept = self._found.get(name)
        if kept is not None and kept.recheck > now:
            return replace(kept.found, ttl=int(kept.until - now))
        missing = self._missing.get(name)
        if missing is not None and missing[1] > now:
            raise NameNotFound(missing[0])
        return await self._joined(name)

    def kept(self, name: str) -> ResolvedName | None:
        """The answer that is at hand for a canonical name; None where one has to ask."""
        now = time.monotonic()
        kept = self._found.get(name)
        return None if kept is None or kept.until <= now else replace(kept.found, ttl=int(kept.until - now))

    def forget(self, name: str) -> None:
        """The name leads elsewhere now: whoever asks from here on gets what it leads to now."""
        name = canonical_name(name)
        self._found.drop(name)
        self._missing.drop(name)
        self._lookups.pop(name, None)

    def clear(self) -> None:
        """Forget every name."""
        self._found.clear()
        self._missing.clear()
        self._lookups.clear()

    async def _joined(self, name: str) -> ResolvedName:
        lookup = self._lookups.get(name)
        if lookup is None:
            lookup = self._lookups[name] = _Lookup(asyncio.create_task(self._look_up(name)))
            lookup.task.add_done_callback(lambda _: self._landed(name, lookup))
        lookup.waiting += 1
        try:
            # One client that leaves must not take the answer from the others who wait for it.
            return await asyncio.shield(lookup.task)
        finally:
            lookup.waiting -= 1
            if not lookup.waiting:
                lookup.task.cancel()
                self._landed(name, lookup)

    async def _look_up(self, name: str) -> ResolvedName:
        try:
            found = await self._inner.resolve(name)
        except NameNotFound as error:
            if self._is_wanted(name):
                until = time.monotonic() + _relied_on(name, self._limits.negative_ttl)
                self._missing.put(name, (str(error), until), len(name) + len(str(error)))
            raise
        fresh = found.fresh_for(time.time())
        if fresh is None:
            return found
        ttl = min(fresh, self._limits.max_ttl)
        if ttl > 0 and self._is_wanted(name):
            self._keep(name, found, ttl)
        return replace(found, ttl=int(ttl))

    def _keep(self, name: str, found: ResolvedName, ttl: float) -> None:
        now = time.monotonic()
        size = _ANSWER_BYTES + 2 * len(str(found.path)) + len(name)
        self._missing.drop(name)
        self._found.put(name, _Kept(found, now + ttl, now + _relied_on(name, ttl)), size)

    def _is_wanted(self, name: str) -> bool:
        # Not what was asked before the name was forgotten: it may be what it led to before.
        lookup = self._lookups.get(name)
        return lookup is not None and lookup.task is asyncio.current_task()

    def _landed(self, name: str, lookup: _Lookup) -> None:
        if self._lookups.get(name) is lookup:
            del self._lookups[name]
        if lookup.task.done() and not lookup.task.cancelled():
            lookup.task.exception()  # Whoever waited has seen it; nobody may be left who does.


def _relied_on(name: str, seconds: float) -> float:
    return min(seconds, KEY_SECONDS) if is_key(name) else seconds


@dataclass(frozen=True, slots=True)
class KeptNames:
    """A NameResolver that asks nobody outside: what `names` remembers, then `here`, which is on this side
    of the network (RFC 9111 section 5.2.1.7, `only-if-cached`)."""

    names: CachedNames
    here: NameResolver

    async def resolve(self, name: str) -> ResolvedName:
        return self.names.kept(canonical_name(name)) or await self.here.resolve(name)
