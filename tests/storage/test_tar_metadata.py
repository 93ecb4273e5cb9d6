"""Modes and times of TAR entries: the CIDs are those of Kubo for the unpacked tree."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipld.unixfs.listing import find_entry
from ipld.unixfs.node import NO_METADATA, Metadata, Mtime
from ipld.unixfs.profiles import PROFILES
from storage.memory_index import MemoryIndex
from storage.memory_objects import MemoryObjects
from storage.refused import InvalidTar
from storage.tar_import import Preserve, tar_entries
from storage.tar_times import decimal_time, parse_time
from storage.tree import TreeEntry
from tests.storage.stores import Stores, cut

DIR, FILE, LINK = tarfile.DIRTYPE, tarfile.REGTYPE, tarfile.SYMTYPE
Member = tuple[str, bytes, int, str, bytes]
BOTH = Preserve(mode=True, mtime=True)


def example() -> Iterator[Member]:
    """Every kind of entry, with a directory that becomes a HAMT and one that is named twice."""
    yield ".", DIR, 0o755, "1500000003", b""
    yield "a.txt", FILE, 0o600, "1700000000.123456789", b"hello"
    yield "big", FILE, 0o640, "1700000001", bytes(3_000_000)
    yield "one-chunk", FILE, 0o644, "1700000002", b"\1" * 2**20
    yield "link", LINK, 0o777, "1600000000", b"../a.txt"
    yield "nothing", FILE, 0o644, "-5", b""
    yield "set", FILE, 0o4755, "-1.25", b"x"
    yield "unreadable", FILE, 0, "0", b"x"
    yield "dir", DIR, 0o755, "1", b""
    yield "dir/sub", DIR, 0o1777, "1500000002.5", b""
    yield "dir/sub/run.sh", FILE, 0o755, "0", b"run\n"
    yield "many", DIR, 0o750, "1500000007.25", b""
    for number in range(4500):
        yield f"many/a-file-with-a-longer-name-{number:05}", FILE, 0o644, "1234567890", b"x"
    yield "dir", DIR, 0, "-100.75", b""


def archive(members: Iterator[Member] | list[Member], format: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for name, kind, mode, mtime, data in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, mode
            info.mtime = int(mtime) if mtime.isdigit() else 0
            info.pax_headers = {"mtime": mtime}
            if kind == LINK:
                info.linkname = data.decode()
            info.size = len(data) if kind == FILE else 0
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


# ipfs init --profile=unixfs-v1-2025; mkdir x; tar -xpf example.tar -C x
# ipfs add -rQ --raw-leaves=false --cid-version=1 --preserve-mode --preserve-mtime x
# and for the other profile with --cid-version=0 --chunker=size-262144 --max-file-links=174
@pytest.mark.parametrize(
    ("preserve", "profile", "cid"),
    [
        (
            Preserve(mode=True),
            "unixfs-v1-2025",
            "bafybeig7lzjh4zsr75hk3eakcgw6lif2blyh2f7uciyukgjicj76oymd5i",
        ),
        (
            Preserve(mtime=True),
            "unixfs-v1-2025",
            "bafybeidsdxcz226d2xsqqeyqkzz24vzwlk542svglcm4h3appdwwhnd6yi",
        ),
        (BOTH, "unixfs-v1-2025", "bafybeigaainhmmu52zaxxiojtt3cijp2fz7qh4yo2ad4xtjvmwbu33e6a4"),
        (BOTH, "unixfs-v0-2015", "QmYQMm8xA3o9CPJaQeELGMzrFF3maXUEjpx7vipDJSixeR"),
    ],
)
async def test_the_cid_is_that_of_kubo(preserve: Preserve, profile: str, cid: str) -> None:
    stores = Stores(MemoryObjects(), MemoryIndex())
    owned = stores.owned(profile=PROFILES[profile].for_metadata())
    added = await stores.content.add_tree(tar_entries(cut(archive(example())), preserve=preserve), owned)
    assert str(added.cid) == cid
    found = await find_entry(stores.blocks, added.cid, "big")
    assert found.link is not None
    assert await stores.read(found.link.cid) == bytes(3_000_000)


async def entries(data: bytes, preserve: Preserve = BOTH) -> list[TreeEntry]:
    return [entry async for entry in tar_entries(cut(data), preserve=preserve)]


async def test_nothing_is_taken_over_unless_it_is_wanted() -> None:
    data = archive([(".", DIR, 0o700, "no time", b""), ("a", FILE, 0o600, "no time", b"x")])
    assert [(entry.path, entry.metadata) for entry in await entries(data, Preserve())] == [("a", NO_METADATA)]
    modes = await entries(data, Preserve(mode=True))
    assert [entry.metadata for entry in modes] == [Metadata(0o700), Metadata(0o600)]
    with pytest.raises(InvalidTar, match="time"):
        await entries(data)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
async def test_times_of_headers_alone(format: int) -> None:
    [entry] = await entries(archive([("a", FILE, 0o7777, "1700000000", b"")], format))
    assert entry.metadata == Metadata(0o7777, Mtime(1_700_000_000))


@given(st.integers(100, 147), st.binary(min_size=1, max_size=12))
async def test_only_invalid_tar_is_raised(at: int, noise: bytes) -> None:
    """Whatever stands in the fields of mode, owners, size and time."""
    header = tarfile.TarInfo("a").tobuf(tarfile.USTAR_FORMAT)
    broken = bytearray(header[:at] + noise + header[at + len(noise) :])
    broken[148:156] = b" " * 8
    broken[148:156] = b"%06o\0 " % sum(broken)
    with suppress(InvalidTar):
        await entries(bytes(broken) + bytes(1024))


@pytest.mark.parametrize(
    ("text", "seconds", "nanoseconds"),
    [
        ("0", 0, 0),
        ("1.", 1, 0),
        ("1.5", 1, 500_000_000),
        ("1.0000000019", 1, 1),
        ("-1", -1, 0),
        ("-1.25", -2, 750_000_000),
        ("-0.000000001", -1, 999_999_999),
        ("9223372036854775807", 2**63 - 1, 0),
        ("-9223372036854775808", -(2**63), 0),
    ],
)
def test_times(text: str, seconds: int, nanoseconds: int) -> None:
    assert parse_time(text) == Mtime(seconds, nanoseconds)


@pytest.mark.parametrize("text", ["", ".", ".5", "1e9", "+1", " 1", "1,5", "١", "nan", "9223372036854775808"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|64 bits"):
        parse_time(text)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 999_999_999))
def test_times_survive_as_text(seconds: int, nanoseconds: int) -> None:
    assert parse_time(decimal_time(Mtime(seconds, nanoseconds))) == Mtime(seconds, nanoseconds)
