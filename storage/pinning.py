"""Keeping what is here already: no byte is stored for it."""

from __future__ import annotations

from ipld import dag_pb
from ipld.blocks import BlockReader
from ipld.cid import Cid
from ipld.errors import BlockNotFound, MalformedBlock, NotUnixFs
from ipld.unixfs.node import READABLE, decode_node
from storage.index import Index, NewUpload
from storage.ownership import Added, Owned, storable_name
from storage.uninterrupted import uninterrupted


async def keep(index: Index, blocks: BlockReader, root: Cid, owned: Owned) -> Added:
    """The owner keeps all that is under the root, which may lie anywhere in what others keep.

    Raises BlockNotFound where it is not here as a whole, and UploadGone where it goes at this moment.
    """
    data = await blocks.get(root)
    size, name = content_size(root, data), storable_name(owned.name)
    if root.is_identity:
        return Added(root, size, name, None)
    held = await index.closure([root.multihash])
    if not held.complete:
        raise BlockNotFound(f"not all that is under {root} is here")
    upload = NewUpload(owned.owner, root, name, size, owned.lifetime, owned.client)
    kept = await uninterrupted(index.keep(upload, held.objects))
    return Added(root, size, name, None, file_id=kept.file_id, expires_at=kept.expires_at)


def content_size(root: Cid, data: bytes) -> int:
    """The bytes of a file; of all blocks of a directory, as its links tell; of any other block itself."""
    try:
        node = decode_node(root, data)
    except (NotUnixFs, MalformedBlock):
        return len(data)
    return node.size if node.kind in READABLE else tree_size(data)


def tree_size(data: bytes) -> int:
    """The bytes of all blocks below a dag-pb block, as its links tell."""
    return len(data) + sum(link.tsize or 0 for link in dag_pb.decode(data).links)
