"""The names that are known without asking anybody, where nothing else is wired: none."""

from __future__ import annotations

from ipld.errors import NameNotFound
from ipld.names import ResolvedName


class NoNames:
    """A NameResolver that knows no name."""

    async def resolve(self, name: str) -> ResolvedName:
        raise NameNotFound(f"nothing is known here about /ipns/{name}")
