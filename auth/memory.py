"""API keys in a dict: what unit tests and `make dev` use."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from auth.errors import KeyExists
from auth.keys import ApiKey, KeyRequest, NewKey, choose, hash_secret, is_well_formed


@dataclass(slots=True)
class MemoryKeys:
    _keys: dict[UUID, ApiKey] = field(default_factory=dict)
    _ids: dict[bytes, UUID] = field(default_factory=dict)

    async def create(self, request: KeyRequest) -> NewKey:
        new = request.make()
        digest = hash_secret(new.secret)
        if digest in self._ids:
            raise KeyExists("there is a key with this secret already")
        self._ids[digest] = new.key.id
        self._keys[new.key.id] = new.key
        return new

    async def list(self) -> Collection[ApiKey]:
        return tuple(self._keys.values())

    async def revoke(self, wanted: str) -> ApiKey:
        key = choose(self._keys.values(), wanted)
        self._keys[key.id] = replace(key, revoked_at=datetime.now(UTC))
        return self._keys[key.id]

    async def authenticate(self, secret: str) -> ApiKey | None:
        if not is_well_formed(secret):
            return None
        found = self._ids.get(hash_secret(secret))
        if found is None or not await self.is_good(found):
            return None
        return self._keys[found]

    async def is_good(self, key: UUID) -> bool:
        return key in self._keys and self._keys[key].is_good(datetime.now(UTC))

    async def touch(self, used: Mapping[UUID, datetime]) -> None:
        for key in used.keys() & self._keys.keys():
            before = self._keys[key].last_used_at
            last = used[key] if before is None else max(before, used[key])
            self._keys[key] = replace(self._keys[key], last_used_at=last)
