"""Named keys in a dict: what unit tests use."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from uuid import UUID

from ipld.ipns_name import IpnsName
from naming.named_keys import KeyTaken, KeyUnknown, NamedKey


@dataclass(slots=True)
class MemoryNamedKeys:
    """A NamedKeys of one process."""

    _keys: dict[str, NamedKey] = field(default_factory=dict)
    _announced: dict[str, float] = field(default_factory=dict)

    async def add(self, key: NamedKey) -> None:
        if key.label in self._keys or await self.by_name(key.name) is not None:
            raise KeyTaken(f"there is a key called {key.label}, or with the name {key.name}, already")
        self._keys[key.label] = key
        self._announced[key.label] = time.monotonic()

    async def get(self, label: str) -> NamedKey | None:
        return self._keys.get(label)

    async def by_name(self, name: IpnsName) -> NamedKey | None:
        return next((key for key in self._keys.values() if key.name == name), None)

    async def list(self) -> Collection[NamedKey]:
        return [self._keys[label] for label in sorted(self._keys)]

    async def give(self, label: str, owner: UUID) -> None:
        if label not in self._keys:
            raise KeyUnknown(f"there is no key called {label}")
        self._keys[label] = replace(self._keys[label], owner=owner)

    async def published(self, label: str, lifetime: float) -> None:
        if label in self._keys:
            self._keys[label] = replace(self._keys[label], lifetime=lifetime)
            self._announced[label] = time.monotonic()

    async def claim(self, label: str, idle: float) -> bool:
        if label not in self._keys or time.monotonic() - self._announced[label] < idle:
            return False
        self._announced[label] = time.monotonic()
        return True
