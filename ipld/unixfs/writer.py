"""Building files: a stream of bytes becomes leaves, the balanced tree above them, and a root CID."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

from ipld import dag_pb
from ipld.blocks import Block, Buffer
from ipld.cid import DAG_PB, RAW, Cid
from ipld.unixfs.node import NO_METADATA, Kind, Metadata, encode_inner, encode_lone_leaf, leaf_wrapping
from ipld.unixfs.profiles import Profile


class LeafSpan(NamedTuple):
    """A leaf as a span of the file; a `wrapped` one is a dag-pb block around it (`leaf_wrapping`)."""

    cid: Cid
    offset: int
    length: int
    wrapped: bool


@dataclass(frozen=True, slots=True)
class BuiltFile:
    """`leaves` and `inner` are those not given out before; `tsize` counts all blocks of the file."""

    root: Cid
    size: int
    tsize: int
    leaves: list[LeafSpan]
    inner: list[Block]


class _Child(NamedTuple):
    cid: Cid
    size: int
    tsize: int


class FileBuilder:
    """Takes a file in pieces of any size. Bound by the CPU: call it from a thread.

    Holds one chunk at most and the unfinished node of each level. Inner nodes are kept until
    `drain` or `finish` hands them out: drain now and then, and memory is bounded for any size.
    The root carries the metadata, for which the profile must not have raw leaves.
    """

    def __init__(self, profile: Profile, metadata: Metadata = NO_METADATA) -> None:
        self._profile = profile
        self._metadata = metadata
        self._leaves: _Leaves = _RawLeaves() if profile.raw_leaves else _WrappedLeaves()
        self._filled = 0
        self._offset = 0
        self._levels: list[list[_Child]] = [[]]
        self._inner: list[Block] = []

    def add(self, data: Buffer) -> list[LeafSpan]:
        """Takes the next bytes of the file; gives the leaves that they complete."""
        view = memoryview(data).cast("B")
        chunk = self._profile.chunk_size
        spans: list[LeafSpan] = []
        at = 0
        while at < len(view):
            if self._filled == chunk:
                spans.append(self._finish_leaf())
            taken = min(chunk - self._filled, len(view) - at)
            # A first leaf may be the root: it waits until more comes, or nothing does.
            waits = not self._offset and self._metadata != NO_METADATA
            self._leaves.take(view[at : at + taken], taken == chunk and not waits)
            self._filled += taken
            at += taken
            if self._filled == chunk and not waits:
                spans.append(self._finish_leaf())
        return spans

    def drain(self) -> list[Block]:
        """The inner nodes completed since the last call."""
        inner, self._inner = self._inner, []
        return inner

    def finish(self) -> BuiltFile:
        """The end of the file. An empty one is a single empty leaf."""
        if not self._offset and self._metadata != NO_METADATA:
            return self._finish_lone_leaf()
        leaves = [self._finish_leaf()] if self._filled or not self._offset else []
        root = self._close()
        return BuiltFile(root.cid, root.size, root.tsize, leaves, self.drain())

    def _finish_leaf(self) -> LeafSpan:
        length, self._filled = self._filled, 0
        digest, overhead = self._leaves.finish(length)
        wrapped = not self._profile.raw_leaves
        version = self._profile.cid_version
        cid = Cid.of_digest(digest, DAG_PB if wrapped else RAW, version if wrapped else 1)
        span = LeafSpan(cid, self._offset, length, wrapped)
        self._offset += length
        self._push(0, _Child(cid, length, length + overhead))
        return span

    def _finish_lone_leaf(self) -> BuiltFile:
        content = self._leaves.held()
        root = self._add_inner(dag_pb.encode((), encode_lone_leaf(content, self._metadata)))
        return BuiltFile(root.cid, len(content), len(root.data), [], self.drain())

    def _push(self, level: int, child: _Child) -> None:
        while True:
            if level == len(self._levels):
                self._levels.append([])
            children = self._levels[level]
            if len(children) < self._profile.width:
                children.append(child)
                return
            # A full node waits for one more child: until then it may be the root.
            self._levels[level] = [child]
            child = self._node(children)
            level += 1

    def _close(self) -> _Child:
        # IPIP-0499, "balanced": all leaves lie at the same depth, so that a lone last child is
        # wrapped level by level; only a leaf without siblings is the root itself.
        level = 0
        while level < len(self._levels) - 1:
            self._push(level + 1, self._node(self._levels[level]))
            level += 1
        children = self._levels[level]
        return children[0] if len(children) == 1 else self._node(children, self._metadata)

    def _node(self, children: list[_Child], metadata: Metadata = NO_METADATA) -> _Child:
        links = [dag_pb.PBLink(child.cid, "", child.tsize) for child in children]
        message = encode_inner(child.size for child in children) + metadata.encode(Kind.FILE)
        block = self._add_inner(dag_pb.encode(links, message))
        tsize = len(block.data) + sum(child.tsize for child in children)
        return _Child(block.cid, sum(child.size for child in children), tsize)

    def _add_inner(self, data: bytes) -> Block:
        block = Block(Cid.of(data, DAG_PB, self._profile.cid_version), data)
        self._inner.append(block)
        return block


class _RawLeaves:
    """Hashes a raw leaf as its bytes come; nothing is held."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def take(self, data: memoryview, whole: bool) -> None:
        self._hash.update(data)

    def finish(self, length: int) -> tuple[bytes, int]:
        digest, self._hash = self._hash.digest(), hashlib.sha256()
        return digest, 0

    def held(self) -> bytes:
        raise AssertionError("a raw leaf has no place for metadata")


class _WrappedLeaves:
    """Hashes a dag-pb leaf, whose first bytes state its length: bytes are held until that is known."""

    def __init__(self) -> None:
        self._held: list[memoryview | bytes] = []

    def take(self, data: memoryview, whole: bool) -> None:
        # The caller may fill its buffer anew after `add`, so only a leaf that ends there is not copied.
        self._held.append(data if whole else bytes(data))

    def finish(self, length: int) -> tuple[bytes, int]:
        before, after = leaf_wrapping(length)
        hashed = hashlib.sha256(before)
        for piece in self._held:
            hashed.update(piece)
        hashed.update(after)
        self._held = []
        return hashed.digest(), len(before) + len(after)

    def held(self) -> bytes:
        return b"".join(self._held)


_Leaves = _RawLeaves | _WrappedLeaves
