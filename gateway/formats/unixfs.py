"""Files and directories as browsers want them."""

from __future__ import annotations

from gateway.formats.directory import represent_directory
from gateway.formats.file import represent_file
from gateway.representation import Representation
from gateway.request import ContentRequest
from ipld.blocks import BlockReader
from ipld.paths import Found
from ipld.unixfs.node import LISTABLE, decode_node


async def represent_unixfs(blocks: BlockReader, wanted: ContentRequest, found: Found) -> Representation:
    """Raises NotUnixFs for blocks of other codecs."""
    node = decode_node(found.cid, await blocks.get(found.cid))
    if node.kind in LISTABLE:
        return await represent_directory(blocks, wanted, found)
    return await represent_file(blocks, wanted, found)
