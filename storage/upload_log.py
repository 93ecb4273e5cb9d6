"""The upload log: who put in and took out what, from where, and how it ended."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from ipld.errors import StoreUnavailable
from storage.repeated import repeated
from storage.transactions import Connection, Pool, unavailable_is_said
from storage.uninterrupted import uninterrupted

logger = logging.getLogger(__name__)

# How the log names what `cidgate import` brings in; a request comes from an address.
COMMAND_LINE = "command line"

FLUSH_SECONDS = 1.0
# Refusals that wait to be written; beyond these the oldest are dropped, and counted.
MAX_WAITING = 10_000
# Texts of a refusal come from clients.
MAX_TEXT = 1024
_MAX_SIZE = 2**63 - 1

_WRITE = """
INSERT INTO upload_log (at, action, outcome, owner, client, file_id, cid, name, size, reason)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""


class Action(StrEnum):
    UPLOAD = "upload"
    DELETE = "delete"
    EXPIRE = "expire"


class Outcome(StrEnum):
    DONE = "done"
    REFUSED = "refused"  # the client's fault
    FAILED = "failed"  # ours, or that of the network


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of the log. `size` is in bytes, where it is known; `reason` says why it did not succeed."""

    action: Action
    outcome: Outcome
    owner: UUID
    client: str
    file_id: UUID | None = None
    cid: str | None = None
    name: str | None = None
    size: int | None = None
    reason: str | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def columns(self) -> tuple[object, ...]:
        """In the order of the table."""
        return (
            self.at,
            self.action.value,
            self.outcome.value,
            self.owner,
            plain(self.client[:MAX_TEXT]),
            self.file_id,
            self.cid,
            plain(self.name and self.name[:MAX_TEXT]),
            None if self.size is None else min(self.size, _MAX_SIZE),
            plain(self.reason and self.reason[:MAX_TEXT]),
        )


class UploadLog(Protocol):
    """What has succeeded is written by the index, in the transaction that did it."""

    def add(self, entry: LogEntry) -> None:
        """Note what did not succeed; it is written soon, and lost if the process is killed before."""
        ...


class MemoryUploadLog:
    """A list."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []

    def add(self, entry: LogEntry) -> None:
        self.entries.append(entry)


class PostgresUploadLog:
    """Collects refusals and writes them together, so that a flood of them costs little."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: deque[LogEntry] = deque(maxlen=MAX_WAITING)
        self.dropped = 0

    def add(self, entry: LogEntry) -> None:
        self.dropped += len(self._waiting) == MAX_WAITING
        self._waiting.append(entry)

    async def flush(self) -> None:
        """Write what waits; it goes on waiting where the database cannot be asked."""
        if not self._waiting:
            return
        await uninterrupted(self._flush())

    async def _flush(self) -> None:
        entries = list(self._waiting)
        self._waiting.clear()
        try:
            async with unavailable_is_said(), self._pool.acquire() as connection:
                await write(connection, entries)
        except StoreUnavailable as error:
            logger.warning("%d lines of the upload log wait for the database: %s", len(entries), error)
            self._waiting.extendleft(reversed(entries[: MAX_WAITING - len(self._waiting)]))

    @asynccontextmanager
    async def flushing(self, seconds: float = FLUSH_SECONDS) -> AsyncGenerator[None, None]:
        """Write now and then until the block is left, and once more at its end."""
        try:
            async with repeated(self.flush, seconds):
                yield
        finally:
            await self.flush()


async def write(connection: Connection, entries: Sequence[LogEntry]) -> None:
    """In the transaction of the connection, if it is in one."""
    await connection.executemany(_WRITE, [entry.columns() for entry in entries])


async def prune(pool: Pool, keep_seconds: float) -> None:
    """Delete what is older."""
    async with unavailable_is_said():
        await pool.execute(
            "DELETE FROM upload_log WHERE at < now() - make_interval(secs => $1)", keep_seconds
        )


def plain(text: str | None) -> str | None:
    """As Postgres takes it: no NUL, no half of a surrogate pair."""
    return None if text is None else text.encode("utf-8", "replace").decode().replace("\0", "?")
