"""Fetching blocks, or what is made of them, in order with a bounded number of requests under way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from ipld.cid import Cid

Get = Callable[[Cid], Awaitable[bytes]]

Fetched = TypeVar("Fetched")
_Fetch = Callable[[Cid], Awaitable[Fetched]]


async def in_order(fetch: _Fetch[Fetched], cids: Sequence[Cid], ahead: int) -> AsyncGenerator[Fetched, None]:
    """What `fetch` gives, in order, at most `ahead` requests at once.

    Closing the generator cancels what is under way and waits for its end: use `aclosing`.
    """
    if len(cids) == 1:
        yield await fetch(cids[0])
        return
    waiting: deque[asyncio.Task[Fetched]] = deque()
    source = iter(cids)
    try:
        _start(fetch, source, waiting, ahead)
        while waiting:
            fetched = await waiting[0]
            waiting.popleft()
            _start(fetch, source, waiting, 1)
            yield fetched
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def _start(
    fetch: _Fetch[Fetched], source: Iterator[Cid], waiting: deque[asyncio.Task[Fetched]], count: int
) -> None:
    waiting.extend(asyncio.ensure_future(_one(fetch, cid)) for cid in islice(source, count))


async def _one(fetch: _Fetch[Fetched], cid: Cid) -> Fetched:
    return await fetch(cid)
