"""The cleanup: letting go of files whose time is over."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from storage.content import Content
from storage.files import Files

# In one transaction, after which every gateway forgets what it has cached.
BATCH = 100


@dataclass(frozen=True, slots=True)
class Cleaned:
    """How many files went, and how many objects that nobody else held."""

    files: int = 0
    objects: int = 0


async def clean_up(content: Content, files: Files, batch: int = BATCH) -> AsyncGenerator[Cleaned, None]:
    """Let go of every file that has expired; yields what went after each batch.

    Content that another upload keeps stays while that one does. Any number of gateways may do it at once,
    and it may be broken off anywhere. Raises StoreUnavailable.
    """
    while (released := await content.let_go(files.expire(batch))).found:
        yield Cleaned(released.files, len(released.keys))
