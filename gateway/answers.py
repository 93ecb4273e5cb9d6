"""What immutable paths were answered with, kept ready until something is deleted."""

from __future__ import annotations

from functools import partial

from cache.memory import MemoryCache
from gateway.representation import Representation

# The target as the client sent it, and its Accept header: nothing else chooses the answer.
Question = tuple[str, str | None]


class Answers:
    """`epoch` rises whenever everything is forgotten."""

    def __init__(self, max_bytes: int) -> None:
        self._kept: MemoryCache[Representation] = MemoryCache(max_bytes)
        self.epoch = 0
        # The look-up of the hottest path there is, without a call in between.
        self.get = self._kept.get

    def put(self, question: Question, shown: Representation, epoch: int) -> None:
        """Keep an answer whose making began in `epoch`: an older one may be what was deleted since."""
        if epoch != self.epoch:
            return
        self._kept.put(question, shown, shown.weight + len(question[0]))
        if shown.later is not None:
            shown.later.keep = partial(self.put, question, epoch=epoch)

    def clear(self) -> None:
        """Something was deleted."""
        self.epoch += 1
        self._kept.clear()
