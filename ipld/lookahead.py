"""Fetching blocks in order with a bounded number of requests under way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from itertools import islice

from ipld.cid import Cid

Get = Callable[[Cid], Awaitable[bytes]]


async def in_order(get: Get, cids: Sequence[Cid], ahead: int) -> AsyncGenerator[bytes, None]:
    """The blocks, in order, at most `ahead` requests at once.

    Closing the generator cancels what is under way and waits for its end: use `aclosing`.
    """
    if len(cids) == 1:
        yield await get(cids[0])
        return
    waiting: deque[asyncio.Task[bytes]] = deque()
    source = iter(cids)
    try:
        _start(get, source, waiting, ahead)
        while waiting:
            block = await waiting[0]
            waiting.popleft()
            _start(get, source, waiting, 1)
            yield block
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def _start(get: Get, source: Iterator[Cid], waiting: deque[asyncio.Task[bytes]], count: int) -> None:
    waiting.extend(asyncio.ensure_future(_fetch(get, cid)) for cid in islice(source, count))


async def _fetch(get: Get, cid: Cid) -> bytes:
    return await get(cid)
