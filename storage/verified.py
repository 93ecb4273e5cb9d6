"""Which spans of which objects were already hashed since this process began."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict


class Intervals:
    """Disjoint half-open intervals; neighbours that touch are one."""

    __slots__ = ("_starts", "_stops")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def __len__(self) -> int:
        return len(self._starts)

    def covers(self, start: int, stop: int) -> bool:
        """Whether every position from `start` up to `stop` was added."""
        at = bisect_right(self._starts, start) - 1
        return start >= stop or (at >= 0 and self._stops[at] >= stop)

    def reach(self, start: int) -> int:
        """The first position from `start` on that was not added."""
        at = bisect_right(self._starts, start) - 1
        return max(start, self._stops[at]) if at >= 0 else start

    def add(self, start: int, stop: int) -> None:
        """Add the positions from `start` up to `stop`."""
        first = bisect_left(self._stops, start)
        last = bisect_right(self._starts, stop)
        if first < last:
            start = min(start, self._starts[first])
            stop = max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]


class VerifiedSpans:
    """Remembers checked spans per object and version, bounded in objects and in intervals.

    `max_intervals` counts all objects together; the least recently used are forgotten first.
    """

    def __init__(self, max_objects: int = 4096, max_intervals: int = 262_144) -> None:
        self._max_objects = max_objects
        self._max_intervals = max_intervals
        self._intervals = 0
        self._objects: OrderedDict[str, tuple[object, Intervals]] = OrderedDict()

    def covers(self, key: str, version: object | None, start: int, stop: int) -> bool:
        """Whether the span was checked while the object had this version."""
        known = self._objects.get(key)
        if version is None or known is None or known[0] != version:
            return False
        self._objects.move_to_end(key)
        return known[1].covers(start, stop)

    def reach(self, key: str, version: object | None, start: int) -> int:
        """Up to where, from `start` on, everything was checked while the object had this version."""
        known = self._objects.get(key)
        if version is None or known is None or known[0] != version:
            return start
        self._objects.move_to_end(key)
        return known[1].reach(start)

    def add(self, key: str, version: object | None, start: int, stop: int) -> None:
        """The span was checked. A None version is not remembered: such bytes may change unseen."""
        if version is None or start >= stop:
            return
        known = self._objects.get(key)
        if known is None or known[0] != version:
            self.forget(key)
            known = (version, Intervals())
            self._objects[key] = known
        self._intervals -= len(known[1])
        known[1].add(start, stop)
        self._intervals += len(known[1])
        self._objects.move_to_end(key)
        while len(self._objects) > self._max_objects or self._intervals > self._max_intervals:
            self.forget(next(iter(self._objects)))

    def forget(self, key: str) -> None:
        """The object is gone, or its bytes were found to be wrong."""
        known = self._objects.pop(key, None)
        if known is not None:
            self._intervals -= len(known[1])
