"""One step along a path: from a block through a link to the next one, in whatever codec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ipld import dag_pb
from ipld.blocks import BlockReader
from ipld.cid import DAG_PB, RAW, Cid
from ipld.codecs import PATHED, decode_aside
from ipld.data_model import Value
from ipld.errors import NoLink, NotUnixFs
from ipld.unixfs.listing import find_entry


@dataclass(frozen=True, slots=True)
class Step:
    """The link that the first `used` names lead to; None where the path ends inside the block.

    `trail` are the blocks that were fetched to know.
    """

    link: Cid | None
    used: int
    trail: tuple[Cid, ...]


async def step(blocks: BlockReader, cid: Cid, names: Sequence[str]) -> Step:
    """Follow at least one name. Raises NoLink, MalformedBlock and what reading raises."""
    codec = cid.codec
    if codec == DAG_PB:
        return await _through_dag_pb(blocks, cid, names[0])
    if codec == RAW:
        # Raw blocks have no links, so there is no need to fetch one.
        raise _no_link(names[0], cid)
    if codec in PATHED:
        return _inside(cid, await decode_aside(codec, await blocks.get(cid)), names)
    return Step(None, 0, ())


async def _through_dag_pb(blocks: BlockReader, cid: Cid, name: str) -> Step:
    # Dots are no names, so there is no need to fetch anything.
    if name in (".", ".."):
        raise _no_link(name, cid)
    try:
        lookup = await find_entry(blocks, cid, name)
    except NotUnixFs:
        return Step(await _named_link(blocks, cid, name), 1, (cid,))
    if lookup.link is None:
        raise _no_link(name, cid, lookup.trail)
    return Step(lookup.link.cid, 1, lookup.trail)


async def _named_link(blocks: BlockReader, cid: Cid, name: str) -> Cid:
    """In dag-pb that is not UnixFS, the first link of that name (dag-pb spec, "Pathing"; so does Kubo)."""
    links = dag_pb.decode(await blocks.get(cid)).links
    for link in links:
        if link.name == name:
            return link.cid
    raise _no_link(name, cid, (cid,))


def _inside(cid: Cid, value: Value, names: Sequence[str]) -> Step:
    for used, name in enumerate(names):
        if isinstance(value, Cid):
            return Step(value, used, (cid,))
        value = _child(cid, value, name)
    return Step(value, len(names), (cid,)) if isinstance(value, Cid) else Step(None, 0, (cid,))


def _child(cid: Cid, value: Value, name: str) -> Value:
    if isinstance(value, dict) and name in value:
        return value[name]
    # Data model spec, path segments: the index of a list in decimal, written in one way.
    if isinstance(value, list) and name.isascii() and name.isdecimal() and len(name) < 10:
        index = int(name)
        if str(index) == name and index < len(value):
            return value[index]
    raise _no_link(name, cid, (cid,))


def _no_link(name: str, cid: Cid, trail: tuple[Cid, ...] = ()) -> NoLink:
    return NoLink(f'no link named "{name}" under {cid}', trail)
