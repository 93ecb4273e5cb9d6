"""Hashing the sections of a CAR where it lies: in a thread, with a window of the file in memory."""

from __future__ import annotations

import os
from hashlib import sha256

from ipld import varint
from ipld.car import MAX_SECTION_BYTES
from ipld.cid import MAX_BYTES as MAX_CID_BYTES
from ipld.cid import Cid
from ipld.errors import BlockCorrupt, InvalidCid
from ipld.hashes import SHA2_256, verify
from storage.span_checks import DamagedSpan, window_at, windows

# With so many bytes at hand the head of a section is whole.
_HEAD_BYTES = varint.MAX_BYTES + MAX_CID_BYTES


def sound_until(descriptor: int, span: tuple[int, int, int], first: Cid | None) -> int:
    """Where the sections end that begin at `start`, as many as reach `least`; each hashes to its CID.

    `span` is `start`, `least` and where the last section of the file ends; `first` is what the first one must
    be. Closes the descriptor. Raises DamagedSpan. May wait for the disk.
    """
    position, least, size = span
    try:
        while position < min(least, size):
            position = _sound(descriptor, position, size, first)
            first = None
        return position
    except (BlockCorrupt, InvalidCid, varint.InvalidVarint, OSError, EOFError) as error:
        raise DamagedSpan from error
    finally:
        os.close(descriptor)


def _sound(descriptor: int, position: int, size: int, first: Cid | None) -> int:
    """Where the sections end that lie in one window, or the one that is larger."""
    window = window_at(descriptor, position, size)
    at, is_last = 0, position + len(window) == size
    while at < len(window) and (is_last or len(window) - at >= _HEAD_BYTES):
        length, start = varint.read(window, at, len(window))
        stop = start + length
        if not 0 < length <= MAX_SECTION_BYTES or position + stop > size:
            raise DamagedSpan
        cid, data = Cid.read(window, start)
        if data > stop or first not in (None, cid):
            raise DamagedSpan
        if stop > len(window):
            if at == 0:
                _verify_large(descriptor, cid, (window[data:], position + len(window), position + stop))
                at = stop
            break
        verify(cid, window[data:stop])
        at, first = stop, None
    return position + at


def _verify_large(descriptor: int, cid: Cid, data: tuple[memoryview, int, int]) -> None:
    """`data` is what is at hand, and where the rest begins and ends. Raises BlockCorrupt."""
    begun, start, stop = data
    if cid.hash_code != SHA2_256:
        verify(cid, bytes(begun) + b"".join(map(bytes, windows(descriptor, start, stop))))
        return
    hashed = sha256(begun)
    for window in windows(descriptor, start, stop):
        hashed.update(window)
    if hashed.digest() != cid.digest:
        raise BlockCorrupt(f"the bytes do not hash to {cid}")
