"""The dag-pb codec: strict decoding and canonical encoding of PBNode, without protobuf."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ipld import varint
from ipld.cid import Cid, trusted
from ipld.errors import InvalidCid, MalformedBlock

# Protobuf keys: field number << 3 | wire type.
_NODE_DATA = 0x0A
_NODE_LINK = 0x12
_LINK_HASH = 0x0A
_LINK_NAME = 0x12
_LINK_TSIZE = 0x18

# The shortest link takes 38 bytes, so a block of 2 MiB has at most 55,188 of them.
MAX_LINKS = 60_000


class PBLink(NamedTuple):
    """One PBLink; absent fields are None. A tuple, because nodes hold thousands of them.

    Names that are not UTF-8 keep their bytes as lone surrogates (`surrogateescape`).
    """

    cid: Cid
    name: str | None = None
    tsize: int | None = None


@dataclass(frozen=True, slots=True)
class PBNode:
    """`data` is a view into the block: nothing was copied."""

    links: tuple[PBLink, ...]
    data: memoryview | None


def decode(block: bytes) -> PBNode:
    """The node in a block; MalformedBlock where the dag-pb spec says that decoders refuse it."""
    try:
        return _node(block)
    except varint.InvalidVarint as error:
        raise MalformedBlock(f"dag-pb: {error}") from error
    except InvalidCid as error:
        raise MalformedBlock(f"dag-pb: a link holds no CID: {error}") from error


def _node(block: bytes) -> PBNode:
    # Links before Data is canonical; Data first is what old writers made (dag-pb spec,
    # "Serial Format"). Anything interleaved is refused: it could not be encoded again.
    at, stop = 0, len(block)
    data: memoryview | None = None
    if at < stop and block[at] == _NODE_DATA:
        data, at = _data(block, at + 1, stop)
    links, at = _links(block, at, stop)
    if len(links) > MAX_LINKS:
        raise MalformedBlock(f"dag-pb: more than {MAX_LINKS} links")
    if data is None and at < stop and block[at] == _NODE_DATA:
        data, at = _data(block, at + 1, stop)
    if at != stop:
        raise MalformedBlock(f"dag-pb: unexpected field 0x{block[at]:02x} at byte {at}")
    return PBNode(tuple(links), data)


def _data(block: bytes, at: int, stop: int) -> tuple[memoryview, int]:
    start, end = _span(block, at, stop)
    return memoryview(block)[start:end], end


def _links(block: bytes, at: int, stop: int) -> tuple[list[PBLink], int]:
    links, at = _file_links(block, at)
    while at < stop and block[at] == _NODE_LINK:
        if (common := _common_link(block, at)) is not None:
            link, at = common
        else:
            start, at = _span(block, at + 1, stop)
            link = _link(block, start, at)
        links.append(link)
    return links, at


# The links of a file node: no name, and a sha2-256 CID of a known codec. One search for all of
# them halves the time that a read spends on inner nodes.
_FILE_LINK = (
    rb"\x12([\x28-\x7f])\x0a(?:\x22(?=\x12)|\x24(?=\x01))((?:\x01[\x51\x55\x70\x71])?\x12\x20.{32})"
    rb"\x12\x00\x18([\x80-\xff]{0,9}[\x00-\x7f])"
)
_find_file_links = re.compile(_FILE_LINK, re.DOTALL).findall
_match_file_links = re.compile(rb"(?:%s)+" % _FILE_LINK, re.DOTALL).match


def _file_links(block: bytes, at: int) -> tuple[list[PBLink], int]:
    """The links of that form which follow each other, and where the first other field begins."""
    links: list[PBLink] = []
    run = _match_file_links(block, at)
    for size, raw, encoded in _find_file_links(run.group()) if run else ():
        tsize = varint.whole_protobuf(encoded)
        # Keys and lengths take 5 bytes. Where the link's own length says otherwise, look closely.
        if tsize is None or size[0] != len(raw) + len(encoded) + 5:
            break
        links.append(tuple.__new__(PBLink, (trusted(raw), "", tsize)))
        at += 2 + size[0]
    return links, at


# The form of nearly all links: all three fields, short lengths, a sha2-256 CID of a known codec.
# One match replaces a dozen steps of Python, which is most of the time that listing takes.
_match_common = re.compile(
    rb"\x12[\x28-\x7f]\x0a(?:\x22|\x24\x01[\x51\x55\x70\x71])\x12\x20.{32}\x12[\x00-\x56]", re.DOTALL
).match


def _common_link(block: bytes, at: int) -> tuple[PBLink, int] | None:
    """The link at `at` and where it ends; None where it is not of the common form, sound or not."""
    match = _match_common(block, at)
    if match is None:
        return None
    start = match.end()
    end, name_end = at + 2 + block[at + 1], start + block[start - 1]
    if not name_end < end <= len(block) or block[name_end] != _LINK_TSIZE:
        return None
    tsize = varint.whole_protobuf(block[name_end + 1 : end])
    if tsize is None:
        return None
    name = block[start:name_end].decode("utf-8", "surrogateescape") if name_end > start else ""
    # Half the time of PBLink(...), which counts in nodes of a thousand links.
    return tuple.__new__(PBLink, (trusted(block[at + 4 : start - 2]), name, tsize)), end


def _span(block: bytes, at: int, stop: int) -> tuple[int, int]:
    """Where the length-delimited bytes begin and end."""
    if at < stop and block[at] < 0x80:
        size, start = block[at], at + 1
    else:
        size, start = varint.read_protobuf(block, at, stop)
    if size > stop - start:
        raise MalformedBlock(f"dag-pb: field at byte {at} is cut off")
    return start, start + size


def _link(block: bytes, at: int, stop: int) -> PBLink:
    # dag-pb spec: the fields of a link come once each and in this order; only Hash must be there.
    if at == stop or block[at] != _LINK_HASH:
        raise MalformedBlock(f"dag-pb: link at byte {at} does not begin with its Hash")
    start, at = _span(block, at + 1, stop)
    cid = Cid.decode(block[start:at])
    name: str | None = None
    tsize: int | None = None
    if at < stop and block[at] == _LINK_NAME:
        start, at = _span(block, at + 1, stop)
        name = block[start:at].decode("utf-8", "surrogateescape") if at > start else ""
    if at < stop and block[at] == _LINK_TSIZE:
        tsize, at = varint.read_protobuf(block, at + 1, stop)
    if at != stop:
        raise MalformedBlock(f"dag-pb: unexpected field 0x{block[at]:02x} in a link at byte {at}")
    return PBLink(cid, name, tsize)


def encode(links: Iterable[PBLink] = (), data: bytes | bytearray | memoryview | None = None) -> bytes:
    """The canonical bytes, links in the order given (a directory sorts them by name first)."""
    out = bytearray()
    for link in links:
        body = encode_link(link)
        out += _NODE_LINK_KEY + varint.encode(len(body)) + body
    if data is not None:
        out += _NODE_DATA_KEY + varint.encode(len(data))
        out += data
    return bytes(out)


_NODE_LINK_KEY = bytes([_NODE_LINK])
_NODE_DATA_KEY = bytes([_NODE_DATA])


def encode_link(link: PBLink) -> bytes:
    cid, name, tsize = link
    body = b"\x0a" + varint.encode(len(cid.raw)) + cid.raw
    if name is not None:
        encoded = name_bytes(name)
        body += b"\x12" + varint.encode(len(encoded)) + encoded
    if tsize is not None:
        body += b"\x18" + varint.encode(tsize)
    return body


def name_bytes(name: str) -> bytes:
    """The bytes of a link name, also of one that was not UTF-8; what links are sorted by."""
    return name.encode("utf-8", "surrogateescape")


def link_size(name: bytes, cid: Cid, tsize: int) -> int:
    """How many bytes a link with all three fields adds to a node (IPIP-0499 `block-bytes`)."""
    body = _field_size(len(cid.raw)) + _field_size(len(name)) + 1 + varint.size(tsize)
    return _field_size(body)


def _field_size(size: int) -> int:
    return 1 + varint.size(size) + size
