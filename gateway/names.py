"""The names that resolve before any resolver is set up: none."""

from __future__ import annotations

from ipld.errors import NameNotFound
from ipld.names import ResolvedName


class NoNames:
    """A NameResolver that knows no name."""

    async def resolve(self, name: str) -> ResolvedName:
        raise NameNotFound(f"this gateway resolves no names, so /ipns/{name} leads nowhere")
