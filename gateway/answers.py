"""What paths were answered with, kept ready: immutable ones until something is deleted, others briefly."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial

from cache.memory import MemoryCache
from gateway.representation import Representation
from ipld.names import NameResolver, ResolvedName

# A name may lead elsewhere at any time. This adds to how long the name itself is relied on, and is long for a
# path that is hot.
BRIEF_SECONDS = 0.5

# The origin and the target as the client sent it, and its Accept header: nothing else chooses the answer.
Question = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Epoch:
    """Numbers that rise: `content` when something is deleted, `names` when a name leads elsewhere."""

    content: int = 0
    names: int = 0


class Answers:
    """`epoch` is the present one; an answer whose making began in an older one may be what was before."""

    def __init__(self, max_bytes: int) -> None:
        # With the epoch of names and the time at which it ends, for an answer that is kept briefly.
        self._kept: MemoryCache[tuple[Representation, tuple[int, float] | None]] = MemoryCache(max_bytes)
        self.epoch = Epoch()

    def get(self, question: Question) -> Representation | None:
        """The answer that is at hand."""
        kept = self._kept.get(question)
        if kept is None:
            return None
        shown, brief = kept
        if brief is None or (brief[0] == self.epoch.names and time.monotonic() < brief[1]):
            return shown
        return None

    def put(
        self, question: Question, shown: Representation, epoch: Epoch, until: float | None = None
    ) -> None:
        """Keep an answer whose making began in `epoch`; of a mutable path, `until` a monotonic time."""
        if epoch.content != self.epoch.content:
            return
        brief = None if until is None else (epoch.names, until)
        self._kept.put(question, (shown, brief), shown.weight + _weight(question))
        if shown.later is not None:
            shown.later.keep = partial(self.put, question, epoch=epoch, until=until)

    def clear(self) -> None:
        """Something was deleted."""
        self.epoch = replace(self.epoch, content=self.epoch.content + 1)
        self._kept.clear()

    def renamed(self) -> None:
        """A name leads elsewhere."""
        self.epoch = replace(self.epoch, names=self.epoch.names + 1)


def _weight(question: Question) -> int:
    target, accept = question
    return len(target) + len(accept or "")


@dataclass(slots=True)
class NamesAsked:
    """A NameResolver that notes how many seconds an answer may be kept that was made of what it said; none
    where it was not asked, as where somebody else was."""

    names: NameResolver
    seconds: float | None = None

    async def resolve(self, name: str) -> ResolvedName:
        found = await self.names.resolve(name)
        fresh = found.fresh_for(time.time())
        bounds = (BRIEF_SECONDS, self.seconds, fresh)
        self.seconds = min(bound for bound in bounds if bound is not None)
        return found
