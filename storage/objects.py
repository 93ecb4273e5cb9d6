"""The object store: few large immutable objects under keys of our choosing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from ipld.blocks import Buffer


class ObjectNotFound(LookupError):
    """No object has that key."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """`modified` is in seconds since the epoch."""

    key: str
    size: int
    modified: float


class ObjectWriter(Protocol):
    """An object in the making: invisible until `commit`, gone after `abort`."""

    async def write(self, data: Buffer) -> None:
        """Append; the caller does not touch `data` until this returns."""
        ...

    async def commit(self, head: bytes) -> None:
        """Replace the first `len(head)` bytes by `head`, make the object durable and visible.

        `head` has the length that `create` was told; the zeros written there are replaced.
        """
        ...

    async def abort(self) -> None:
        """Drop what was written. Does nothing after `commit`."""
        ...


class ObjectReader(Protocol):
    """An object that is open for reading.

    `version` changes whenever the bytes may have changed (size, mtime); None where the store
    cannot tell, and then every read is to be checked again.
    """

    size: int
    version: object | None
    # The file behind the object, where there is one.
    descriptor: int | None

    def read(self, start: int, stop: int) -> AsyncGenerator[Buffer, None]:
        """The bytes `start` up to `stop`, in pieces; raises ObjectNotFound when the object is
        shorter."""
        ...


class ObjectStore(Protocol):
    """Keys are relative paths of lower-case ASCII segments, never taken from user input.

    Every method raises StoreUnavailable when the store cannot be reached. `run_bytes` is how much
    is worth asking for at once: an answer that costs a round trip should be large, and small enough
    to be thrown away.
    """

    @property
    def run_bytes(self) -> int: ...

    def create(self, key: str, head_size: int = 0) -> AbstractAsyncContextManager[ObjectWriter]:
        """A new object whose first `head_size` bytes come at commit. Leaving the block without
        a commit aborts it."""
        ...

    def open(self, key: str) -> AbstractAsyncContextManager[ObjectReader]:
        """Raises ObjectNotFound."""
        ...

    async def head(self, key: str) -> ObjectInfo:
        """Raises ObjectNotFound."""
        ...

    async def delete(self, key: str) -> None:
        """Durable when it returns. A key that is not there is no error."""
        ...

    def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Every object whose key begins with `prefix`, in key order."""
        ...
