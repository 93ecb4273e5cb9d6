"""The wanted piece of a leaf block."""

from __future__ import annotations

from ipld.blocks import Leaf
from ipld.errors import MalformedBlock
from ipld.unixfs.node import leaf_data


def leaf_piece(leaf: Leaf, block: bytes) -> memoryview:
    """The file data that was asked for; MalformedBlock where the parent's size is not true."""
    data = leaf_data(leaf.cid, block)
    if len(data) != leaf.size:
        raise MalformedBlock(f"{leaf.cid} has {len(data)} bytes of data, not {leaf.size}")
    return data[leaf.start : leaf.stop]
