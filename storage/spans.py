"""Turning the leaves of a file into as few reads of as few objects as possible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ipld.blocks import Leaf
from ipld.cid import DAG_PB, RAW, Cid
from ipld.errors import MalformedBlock
from storage.index import Location

# Reading over a gap this large costs less than another request to an object store.
MAX_GAP_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Placed:
    """A leaf whose file data is a span of an object, unwrapped."""

    leaf: Leaf
    location: Location

    @property
    def start(self) -> int:
        """Where the wanted data begins in the object."""
        return self.location.offset + self.leaf.start

    @property
    def stop(self) -> int:
        """Where the wanted data ends in the object."""
        return self.location.offset + self.leaf.stop


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring spans of one object, to be fetched with one read."""

    key: str
    placed: Sequence[Placed]

    @property
    def start(self) -> int:
        """The first byte of the object to read."""
        return self.placed[0].location.offset

    @property
    def stop(self) -> int:
        """The byte after the last one to read."""
        return self.placed[-1].location.stop

    @property
    def contiguous(self) -> bool:
        """Whether the wanted data is one span without gaps."""
        return all(a.stop == b.start for a, b in zip(self.placed, self.placed[1:], strict=False))


def carries_data(cid: Cid, location: Location) -> bool:
    """Whether the span itself is the file data of the leaf, not a message around it.

    A block is found by its multihash, so the same span may be asked for under a codec under
    which it means something else.
    """
    if location.inline is not None:
        return False
    return cid.codec == (DAG_PB if location.wrapped else RAW)


def plan(
    leaves: Iterable[Leaf], located: Mapping[bytes, Sequence[Location]], max_bytes: int
) -> Iterator[Run | Leaf]:
    """Runs of at most `max_bytes` (or one leaf), and the leaves that must be read as blocks."""
    run: list[Placed] = []
    for leaf in leaves:
        copies = located.get(leaf.cid.multihash, ())
        location = _prefer(copies, run[-1].location if run else None)
        if location is None or not carries_data(leaf.cid, location):
            yield from _finished(run)
            run = []
            yield leaf
            continue
        if location.length != leaf.size:
            raise MalformedBlock(f"the leaf {leaf.cid} has {location.length} bytes of data, not {leaf.size}")
        if run and not _continues(run, location, max_bytes):
            yield from _finished(run)
            run = []
        run.append(Placed(leaf, location))
    yield from _finished(run)


def plan_blocks(
    cids: Iterable[Cid], located: Mapping[bytes, Sequence[Location]], max_bytes: int
) -> Iterator[Run | Cid]:
    """As `plan`, for whole blocks; a span may be the block without its wrapping."""
    run: list[Placed] = []
    for cid in cids:
        location = _prefer(located.get(cid.multihash, ()), run[-1].location if run else None)
        if location is None or location.inline is not None:
            yield from _finished(run)
            run = []
            yield cid
            continue
        if run and not _continues(run, location, max_bytes):
            yield from _finished(run)
            run = []
        run.append(Placed(Leaf(cid, location.length, 0, location.length), location))
    yield from _finished(run)


def _finished(run: list[Placed]) -> Iterator[Run]:
    if run:
        yield Run(run[0].location.key, run)


def _prefer(copies: Sequence[Location], previous: Location | None) -> Location | None:
    """The copy that lies beside what was read before, or else the first one."""
    if previous is not None:
        for copy in copies:
            if copy.object_id == previous.object_id:
                return copy
    return copies[0] if copies else None


def _continues(run: Sequence[Placed], location: Location, max_bytes: int) -> bool:
    first, last = run[0].location, run[-1].location
    return (
        location.key == last.key
        and 0 <= location.offset - last.stop <= MAX_GAP_BYTES
        and location.stop - first.offset <= max_bytes
    )
