"""Which objects the links of some blocks lead to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from ipld import dag_pb
from ipld.blocks import Block
from ipld.cid import DAG_PB
from storage.index import Closure, Index

Item = TypeVar("Item")

# Blocks and objects are looked up this many at a time.
PER_QUERY = 1000


def parts(items: Iterable[Item], size: int = PER_QUERY) -> Iterator[list[Item]]:
    """The items in lists that one query takes."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def links_of(blocks: Iterable[Block]) -> set[bytes]:
    """The multihashes that dag-pb blocks link to; MalformedBlock."""
    return {
        link.cid.multihash
        for block in blocks
        if block.cid.codec == DAG_PB
        for link in dag_pb.decode(block.data).links
        if not link.cid.is_identity
    }


async def closure_of(index: Index, multihashes: Iterable[bytes]) -> Closure:
    """What holds the DAGs under any number of blocks."""
    found = [await index.closure(part) for part in parts(multihashes)]
    objects = frozenset[int]().union(*(part.objects for part in found))
    return Closure(objects, all(part.complete for part in found))
