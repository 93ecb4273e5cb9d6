"""Files in the index in dicts: the twin that unit tests use, held to the same contract as Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from storage.files import CLEANUP, FileQuery, Freed, KeptFile, Match, Place
from storage.index import Released, forms
from storage.memory_index import MemoryIndex
from storage.upload_log import Action


class MemoryFiles:
    """Over the index that the uploads go into."""

    def __init__(self, index: MemoryIndex) -> None:
        self._index = index

    async def page(self, query: FileQuery) -> Sequence[KeptFile]:
        found = [file for file in self._index.files() if _is_wanted(file, query)]
        found.sort(key=lambda file: (file.created_at, file.file_id), reverse=True)
        return found[: query.limit]

    async def find(self, owner: UUID, file_id: UUID) -> KeptFile | None:
        own = (file for file in self._index.files() if file.owner == owner and file.file_id == file_id)
        return next(own, None)

    async def release(self, owner: UUID, file_id: UUID, client: str | None) -> Released:
        found = await self.find(owner, file_id)
        return self._index.take_out([found] if found else [], Action.DELETE, client)

    async def expired(self, after: Place | None, limit: int) -> Sequence[KeptFile]:
        found = sorted(self._expired(), key=lambda item: item[0])
        beyond = [file for place, file in found if after is None or place > (after.at, after.file_id)]
        return beyond[:limit]

    async def expire(self, limit: int) -> Released:
        return self._index.take_out(await self.expired(None, limit), Action.EXPIRE, CLEANUP)

    async def freed(self) -> Freed:
        return self._index.held_by_these_alone(file for _, file in self._expired())

    def _expired(self) -> list[tuple[tuple[datetime, UUID], KeptFile]]:
        now = datetime.now(UTC)
        return [
            ((file.expires_at, file.file_id), file)
            for file in self._index.files()
            if file.expires_at is not None and file.expires_at <= now
        ]


def _is_wanted(file: KeptFile, query: FileQuery) -> bool:
    place = (file.created_at, file.file_id)
    return (
        file.owner == query.owner
        and (query.name is None or _matches(file.name, query.name, query.match))
        and (query.root is None or file.root.raw in forms(query.root))
        and (query.after is None or place < (query.after.at, query.after.file_id))
    )


def _matches(name: str, wanted: str, match: Match) -> bool:
    if match in (Match.IEXACT, Match.IPARTIAL):
        name, wanted = _lower(name), _lower(wanted)
    return wanted in name if match in (Match.PARTIAL, Match.IPARTIAL) else name == wanted


def _lower(name: str) -> str:
    """Each character by itself, as Postgres does: a sigma is the same at the end of a word."""
    return "".join(map(str.lower, name))
