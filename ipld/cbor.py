"""The plain cbor codec: any CBOR item may be a block, so there is only to check that it is one."""

from __future__ import annotations

from ipld.data_model import MAX_DEPTH
from ipld.errors import MalformedBlock

_BYTES, _TEXT, _LIST, _MAP, _TAG, _SIMPLE = range(2, 8)
_INDEFINITE = 31
_BREAK = 0xFF


def check(block: bytes) -> None:
    """MalformedBlock unless the block is one well-formed item (RFC 8949 appendix C), its strings UTF-8."""
    try:
        end = _item(block, 0, MAX_DEPTH)
    except IndexError:
        raise MalformedBlock("cbor: the block is cut off") from None
    except UnicodeDecodeError as error:
        raise MalformedBlock(f"cbor: a string is not UTF-8: {error.reason}") from error
    if end != len(block):
        raise MalformedBlock(f"cbor: {len(block) - end} bytes too many after the item")


def _item(block: bytes, at: int, depth: int) -> int:
    """Where the item at `at` ends."""
    major, info = block[at] >> 5, block[at] & 0x1F
    if depth == 0 and _LIST <= major <= _TAG:
        raise MalformedBlock(f"cbor: more than {MAX_DEPTH} lists, maps and tags inside each other")
    if info == _INDEFINITE:
        return _until_break(block, at + 1, major, depth)
    value, start = _argument(block, at, info)
    if major in (_BYTES, _TEXT):
        return _string(block, start, value, major)
    if major == _SIMPLE and info == 24 and value < 32:
        raise MalformedBlock(f"cbor: simple value at byte {at} is not well-formed")
    # Each turn takes a byte at least, so a count that lies ends with the block.
    for _ in range(_children(major, value)):
        start = _item(block, start, depth - 1)
    return start


def _children(major: int, value: int) -> int:
    if major == _TAG:
        return 1
    return value if major == _LIST else 2 * value if major == _MAP else 0


def _argument(block: bytes, at: int, info: int) -> tuple[int, int]:
    if info < 24:
        return info, at + 1
    if info > 27:
        raise MalformedBlock(f"cbor: reserved length at byte {at}")
    end = at + 1 + (1 << (info - 24))
    if end > len(block):
        raise IndexError
    return int.from_bytes(block[at + 1 : end], "big"), end


def _string(block: bytes, start: int, size: int, major: int) -> int:
    end = start + size
    if end > len(block):
        raise IndexError
    if major == _TEXT:
        block[start:end].decode("utf-8")
    return end


def _until_break(block: bytes, at: int, major: int, depth: int) -> int:
    if not _BYTES <= major <= _MAP:
        raise MalformedBlock(f"cbor: a break or indefinite length at byte {at - 1} that belongs to nothing")
    items = 0
    while block[at] != _BREAK:
        # Strings are made of definite strings of their own kind.
        if major in (_BYTES, _TEXT) and (block[at] >> 5 != major or block[at] & 0x1F == _INDEFINITE):
            raise MalformedBlock(f"cbor: what is at byte {at} is no piece of a string")
        at = _item(block, at, depth - 1)
        items += 1
    if major == _MAP and items % 2:
        raise MalformedBlock(f"cbor: the map that ends at byte {at} has a key without a value")
    return at + 1
