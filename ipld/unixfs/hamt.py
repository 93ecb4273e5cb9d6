"""HAMT directories: where a name belongs, what a shard holds, and building one from entries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mmh3 import hash64

from ipld import dag_pb
from ipld.blocks import Block
from ipld.cid import DAG_PB, Cid
from ipld.errors import InvalidPath, MalformedBlock
from ipld.unixfs.node import HASH_MURMUR3, NO_METADATA, Kind, Link, Metadata, Node, encode_data
from ipld.unixfs.profiles import Profile

# boxo: a power of two, and CVE-2023-23625 for the upper end.
MIN_FANOUT, MAX_FANOUT = 8, 1024
HASH_BITS = 64


class Slot(NamedTuple):
    """A link of a shard. `name` is empty where it leads to a deeper shard."""

    place: int
    name: str
    cid: Cid
    tsize: int


@dataclass(frozen=True, slots=True)
class Position:
    """Which slots a name takes from the top down: UnixFS spec, "HAMT Structure"."""

    hashed: int
    bits: int

    @classmethod
    def of(cls, name: str, fanout: int) -> Position:
        hashed = hash64(dag_pb.name_bytes(name), 0, x64arch=True, signed=False)[0]
        return cls(hashed, fanout.bit_length() - 1)

    def slot(self, depth: int) -> int:
        """The slot at a depth; MalformedBlock where the hash has no bits left."""
        shift = HASH_BITS - self.bits * (depth + 1)
        if shift < 0:
            raise MalformedBlock("HAMT is deeper than its hash has bits")
        return self.hashed >> shift & ((1 << self.bits) - 1)


def max_depth(fanout: int) -> int:
    return HASH_BITS // (fanout.bit_length() - 1)


class Shard:
    """A HAMT node whose fan-out, bitfield and number of links agree with each other.

    Link names are checked when looked at: a lookup needs one of them.
    """

    __slots__ = ("_bitfield", "_digits", "_node", "fanout")

    def __init__(self, node: Node) -> None:
        self.fanout = _checked_fanout(node)
        self._bitfield = _checked_bitfield(node, self.fanout)
        self._digits = _prefix_digits(self.fanout)
        self._node = node

    @property
    def is_empty(self) -> bool:
        return not self._bitfield

    def slots(self) -> list[Slot]:
        """Everything in the shard, in stored order."""
        places = _set_bits(self._bitfield)
        return [self._slot(place, link) for place, link in zip(places, self._node.links, strict=True)]

    def at(self, place: int) -> Slot | None:
        """What lies in a slot, found by counting the bits below it."""
        if not self._bitfield >> place & 1:
            return None
        below = (self._bitfield & ((1 << place) - 1)).bit_count()
        return self._slot(place, self._node.links[below])

    def _slot(self, place: int, link: dag_pb.PBLink) -> Slot:
        name, digits = link.name or "", self._digits
        if name[:digits] != f"{place:0{digits}X}":
            raise MalformedBlock(f"{self._node.cid} has link {name[:digits]!r} in slot {place}")
        return Slot(place, name[digits:], link.cid, link.tsize or 0)


def _checked_fanout(node: Node) -> int:
    fanout = node.fanout or 0
    if node.kind != Kind.SHARD or node.hash_type != HASH_MURMUR3:
        raise MalformedBlock(f"{node.cid} is not a HAMT shard under murmur3")
    if not MIN_FANOUT <= fanout <= MAX_FANOUT or fanout & (fanout - 1):
        raise MalformedBlock(f"{node.cid} has HAMT fan-out {fanout}")
    return fanout


def _checked_bitfield(node: Node, fanout: int) -> int:
    if len(node.data) > fanout // 8:
        raise MalformedBlock(f"{node.cid} has a HAMT bitfield of {len(node.data)} bytes")
    bitfield = int.from_bytes(node.data, "big")
    if bitfield.bit_count() != len(node.links):
        raise MalformedBlock(f"{node.cid} has {len(node.links)} links, {bitfield.bit_count()} bits")
    return bitfield


def _prefix_digits(fanout: int) -> int:
    return len(f"{fanout - 1:X}")


def _set_bits(bitfield: int) -> Iterator[int]:
    while bitfield:
        lowest = bitfield & -bitfield
        yield lowest.bit_length() - 1
        bitfield ^= lowest


class _Entry(NamedTuple):
    position: Position
    link: Link


def build_hamt(entries: Iterable[Link], profile: Profile, metadata: Metadata = NO_METADATA) -> list[Block]:
    """All shards of a directory, root last, which says mode and time. Names must differ."""
    placed = [_Entry(Position.of(link.name, profile.fanout), link) for link in entries]
    blocks: list[Block] = []
    links, bitfield, _ = _build_links(placed, 0, profile, blocks)
    blocks.append(_shard_block(links, bitfield, profile, metadata))
    return blocks


def _build_shard(entries: Sequence[_Entry], depth: int, profile: Profile, blocks: list[Block]) -> Link:
    links, bitfield, tsize = _build_links(entries, depth, profile, blocks)
    block = _shard_block(links, bitfield, profile)
    blocks.append(block)
    return Link("", block.cid, tsize + len(block.data))


def _build_links(
    entries: Sequence[_Entry], depth: int, profile: Profile, blocks: list[Block]
) -> tuple[list[dag_pb.PBLink], int, int]:
    """The links of a shard, the bits of their slots, and the bytes of all blocks below."""
    # Recursion is bounded by the 64 bits of the hash: 21 levels at fan-out 8.
    if depth == max_depth(profile.fanout):
        names = ", ".join(repr(entry.link.name) for entry in entries[:2])
        raise InvalidPath(f"the names {names} collide in the HAMT hash")
    digits = _prefix_digits(profile.fanout)
    links: list[dag_pb.PBLink] = []
    bitfield = tsize = 0
    for index, group in sorted(_by_slot(entries, depth).items()):
        child = group[0].link if len(group) == 1 else _build_shard(group, depth + 1, profile, blocks)
        links.append(dag_pb.PBLink(child.cid, f"{index:0{digits}X}{child.name}", child.tsize))
        bitfield |= 1 << index
        tsize += child.tsize
    return links, bitfield, tsize


def _by_slot(entries: Sequence[_Entry], depth: int) -> dict[int, list[_Entry]]:
    groups: dict[int, list[_Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.position.slot(depth), []).append(entry)
    return groups


def _shard_block(
    links: list[dag_pb.PBLink], bitfield: int, profile: Profile, metadata: Metadata = NO_METADATA
) -> Block:
    # boxo writes the bitfield big-endian without leading zero bytes.
    bits = bitfield.to_bytes((bitfield.bit_length() + 7) // 8, "big")
    message = encode_data(Kind.SHARD, bits, hash_type=HASH_MURMUR3, fanout=profile.fanout)
    data = dag_pb.encode(links, message + metadata.encode(Kind.SHARD))
    return Block(Cid.of(data, DAG_PB, profile.cid_version), data)
