"""What a block links to, whatever its codec."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from ipld import codecs, dag_pb
from ipld.cid import CBOR, DAG_CBOR, DAG_JSON, DAG_PB, JSON, LIBP2P_KEY, RAW, Cid
from ipld.data_model import Value
from ipld.errors import MalformedBlock

# Plain data: a link inside means nothing to anybody.
LEAF_CODECS = frozenset({RAW, CBOR, JSON, LIBP2P_KEY})


def block_links(cid: Cid, data: bytes) -> Sequence[Cid] | None:
    """The CIDs in a block in their order; None where they cannot be read, and nobody knows them.

    Raises MalformedBlock for dag-pb. The blocks of Filecoin's chain are dag-cbor with strings that are no
    UTF-8: those, and other codecs than these, are still somebody's blocks.
    """
    codec = cid.codec
    if codec in LEAF_CODECS:
        return ()
    if codec == DAG_PB:
        return [link.cid for link in dag_pb.decode(data).links]
    if codec in (DAG_CBOR, DAG_JSON):
        with suppress(MalformedBlock):
            return _cids_in(codecs.decode(codec, data))
    return None


def _cids_in(value: Value) -> list[Cid]:
    found: list[Cid] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Cid):
            found.append(item)
        elif isinstance(item, list):
            waiting.extend(reversed(item))
        elif isinstance(item, dict):
            waiting.extend(reversed(item.values()))
    return found


def stored(cids: Sequence[Cid]) -> Iterator[Cid]:
    """The CIDs whose blocks are stored: in the place of an identity CID those that its data links to."""
    waiting = list(reversed(cids))
    while waiting:
        cid = waiting.pop()
        if not cid.is_identity:
            yield cid
            continue
        # Each data is smaller than the CID that it stands in, so this ends.
        with suppress(MalformedBlock):
            waiting.extend(reversed(block_links(cid, cid.digest) or ()))
