"""The object store: few large immutable objects under keys of our choosing."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from ipld.blocks import Buffer
from ipld.cid import Cid
from ipld.errors import IpldError

# The keys that this program makes; a bucket may hold what others put there, too.
OUR_KEY = re.compile(r"(files/[a-z0-9-]+|cars|imports)/[0-9a-f]{2}/[0-9a-f]{32}", re.ASCII)


# Where uploads that do not pass through this program come in; nothing is served from there.
INCOMING = "incoming/"
INCOMING_KEY = re.compile(re.escape(INCOMING) + r"[0-9a-f]{2}/[0-9a-f]{32}", re.ASCII)


class ObjectNotFound(LookupError):
    """No object has that key."""


class NotPublished(IpldError):
    """The store took the object and did not publish it under the CID that it has: nothing was kept."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """`modified` is in seconds since the epoch."""

    key: str
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a store says of an object that it took.

    `publishes` is whether it publishes objects on IPFS by itself, as Filebase does; `published` the CID
    under which it did so, None where it did not say.
    """

    publishes: bool = False
    published: Cid | None = None


NO_RECEIPT = Receipt()


class ObjectWriter(Protocol):
    """An object in the making: invisible until `commit`, gone after `abort`."""

    async def write(self, data: Buffer) -> None:
        """Append; the caller does not touch `data` until this returns."""
        ...

    async def commit(self, head: bytes, root: Cid | None = None) -> Receipt:
        """Replace the first `len(head)` bytes by `head`, make the object durable and visible.

        `head` has the length that `create` was told; the zeros written there are replaced. `root` is
        the CID of the content, for a store that publishes it and is to be checked.
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
        """A new object whose first `head_size` bytes come at commit; one that has a head is a CAR.
        Leaving the block without a commit aborts it."""
        ...

    def open(
        self, key: str, first: tuple[int, int] | None = None
    ) -> AbstractAsyncContextManager[ObjectReader]:
        """Raises ObjectNotFound.

        `first` is the span that will be read first, where that is known: a store that is far away
        finds the object and reads the span with one request.
        """
        ...

    async def head(self, key: str) -> ObjectInfo:
        """Raises ObjectNotFound."""
        ...

    async def delete(self, key: str) -> None:
        """Durable when it returns. A key that is not there is no error."""
        ...

    def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectInfo]:
        """Every object whose key begins with `prefix` and is greater than `after`, in key order."""
        ...

    async def remove_unfinished(self, older_than: float) -> int:
        """Remove what stands beside the objects: parts of those that were begun that many seconds ago and
        never finished. How many there were."""
        ...
