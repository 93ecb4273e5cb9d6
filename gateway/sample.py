"""A file that every gateway has, so that the first read works before anything was uploaded."""

from __future__ import annotations

from ipld.unixfs.profiles import Profile
from ipld.unixfs.writer import FileBuilder

SAMPLE_NAME = "hello.txt"
SAMPLE = b"""Hello! This file comes out of your own IPFS gateway.

Its address is made from its bytes: whoever has the address can check that nothing was changed,
and the same bytes have the same address on every IPFS gateway there is.
"""


def sample_cid(profile: Profile) -> str:
    """Where it is read, in a profile."""
    builder = FileBuilder(profile)
    builder.add(SAMPLE)
    return str(builder.finish().root)
