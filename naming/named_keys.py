"""IPNS keys of ours: what is known of them, and what every store of them promises."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from ipld.errors import InvalidName, IpldError
from ipld.ipns_name import IpnsName

# No dot, so that no domain name is one.
_LABEL = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?", re.ASCII)


class InvalidLabel(IpldError, ValueError):
    """Not what a key can be called."""


class KeyUnknown(IpldError, LookupError):
    """No key of ours is called so."""


class KeyTaken(IpldError, ValueError):
    """There is a key of that label, or with that very name, already."""


class NotYourKey(IpldError):
    """The key belongs to another API key."""


@dataclass(frozen=True, slots=True)
class NamedKey:
    """`label` is what people call it, `name` what IPNS does. `owner` is an API key, or nobody's for what
    the command line made. `lifetime`, in seconds, is that of its last record, None before the first."""

    label: str
    name: IpnsName
    owner: UUID
    sealed: bytes = field(repr=False)
    lifetime: float | None = None


class NamedKeys(Protocol):
    """Keys by label; every method raises StoreUnavailable."""

    async def add(self, key: NamedKey) -> None:
        """Durable when it returns. Raises KeyTaken."""
        ...

    async def get(self, label: str) -> NamedKey | None:
        """The key that is called so."""
        ...

    async def by_name(self, name: IpnsName) -> NamedKey | None:
        """The key of that IPNS name."""
        ...

    async def list(self) -> Collection[NamedKey]:
        """Every key, by label."""
        ...

    async def give(self, label: str, owner: UUID) -> None:
        """Another owner. Raises KeyUnknown."""
        ...

    async def published(self, label: str, lifetime: float) -> None:
        """Note how long records of this key last, and that one was announced just now."""
        ...

    async def claim(self, label: str, idle: float) -> bool:
        """Whether its record was not announced for `idle` seconds; then it counts as announced now, so
        that of several gateways one does it."""
        ...


def check_label(label: str) -> str:
    """The label, if a key can be called so; else InvalidLabel."""
    if not _LABEL.fullmatch(label):
        raise InvalidLabel(
            f"{label[:80]!r} cannot name a key: 1 to 63 of the characters a-z, 0-9, - and _, "
            "with a letter or digit first and last"
        )
    try:
        IpnsName.parse(label)
    except InvalidName:
        return label
    raise InvalidLabel(f"{label[:80]!r} cannot name a key: it is an IPNS name")
