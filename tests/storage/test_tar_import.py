from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipld.errors import InvalidPath
from ipld.unixfs.listing import list_entries
from storage.memory_index import MemoryIndex
from storage.memory_objects import MemoryObjects
from storage.objects import ObjectStore
from storage.refused import InvalidTar
from storage.tar_import import tar_entries
from storage.tree import TreeEntry
from tests.storage.stores import Stores, cut, pieces

FORMATS = [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, target: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(data), target
    return info, data


def archive(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


async def read(data: bytes, size: int = 300_007, **more: int) -> dict[str, bytes | str | None]:
    """Files as bytes, links as their target, directories as None."""
    found: dict[str, bytes | str | None] = {}
    async for entry in tar_entries(cut(data, size), **more):
        found[entry.path] = await value(entry)
    return found


async def value(entry: TreeEntry) -> bytes | str | None:
    if entry.source is None:
        return entry.target
    return b"".join([bytes(piece) async for piece in entry.source])


LONG = "d" * 90 + "/" + "e" * 90 + "/" + "ü" * 60


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [1, 511, 512, 513, 100_000])
async def test_what_is_in_it(format: int, size: int) -> None:
    data = archive(
        member("./", kind=tarfile.DIRTYPE),
        member("./a/", kind=tarfile.DIRTYPE),
        member("a/", kind=tarfile.DIRTYPE),
        member("a/one", b"1" * 513),
        member("a/empty", b""),
        member("./b//two", b"2" * 512),
        member("link", kind=tarfile.SYMTYPE, target="../a/one"),
        format=format,
    )
    assert await read(data, size) == {
        "a": None,
        "a/one": b"1" * 513,
        "a/empty": b"",
        "b/two": b"2" * 512,
        "link": "../a/one",
    }


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
async def test_long_and_foreign_names(format: int) -> None:
    data = archive(
        member(LONG, b"x"),
        member("l", kind=tarfile.SYMTYPE, target=LONG),
        member("Größe 1", b"y"),
        format=format,
    )
    assert await read(data, 100) == {LONG: b"x", "l": LONG, "Größe 1": b"y"}


async def test_global_attributes_hold_until_others_come() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "c"}) as tar:
        tar.addfile(*reversed_file("f", b"data"))
    assert await read(out.getvalue()) == {"f": b"data"}


def reversed_file(name: str, data: bytes) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info, content = member(name, data)
    return info, io.BytesIO(content)


async def test_data_that_nobody_reads_is_passed_over() -> None:
    data = archive(member("a", b"1" * 5000), member("b", b"2"))
    assert [entry.path async for entry in tar_entries(cut(data, 700))] == ["a", "b"]


async def test_what_follows_the_end_is_nothing() -> None:
    data = archive(member("a", b"1"))
    assert await read(data + b"\0" * 5000) == {"a": b"1"}
    assert await read(data[: 1024 + 512]) == {"a": b"1"}, "one block of zeros is an end too"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "a/..", "/etc/passwd", "..", "//x", "a/../b"])
async def test_names_that_leave_the_directory(name: str) -> None:
    with pytest.raises(InvalidTar, match="at byte 512 of"):
        await read(archive(member("g"), member(name)))


async def test_nul_in_a_name() -> None:
    info, data = member("x")
    info.pax_headers = {"path": "a\0b"}
    with pytest.raises(InvalidTar, match="is no path"):
        await read(archive((info, data)))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (tarfile.LNKTYPE, "'bad' is a hard link"),
        (tarfile.CHRTYPE, "'bad' is a character device"),
        (tarfile.BLKTYPE, "'bad' is a block device"),
        (tarfile.FIFOTYPE, "'bad' is a named pipe"),
        (tarfile.CONTTYPE, "'bad' is a contiguous file"),
        (b"Z", "'bad' is of type b'Z'"),
    ],
)
async def test_what_no_directory_holds(kind: bytes, said: str) -> None:
    with pytest.raises(InvalidTar, match=said) as caught:
        await read(archive(member("good", b"x"), member("bad", kind=kind, target="good")))
    assert caught.value.offset == 1024


async def test_sparse_files() -> None:
    info, data = member("bad", b"x")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    with pytest.raises(InvalidTar, match="sparse"):
        await read(archive((info, data)))
    with pytest.raises(InvalidTar, match="sparse"):
        await read(archive(member("bad", b"x" * 512, tarfile.GNUTYPE_SPARSE), format=tarfile.GNU_FORMAT))


async def test_links_without_a_target() -> None:
    with pytest.raises(InvalidTar, match="leads nowhere"):
        await read(archive(member("l", kind=tarfile.SYMTYPE)))


@pytest.mark.parametrize("format", FORMATS)
async def test_cut_anywhere(format: int) -> None:
    name = "n" * 90 + "/" + "m" * 90 if format == tarfile.USTAR_FORMAT else LONG
    data = archive(member(name, b"1" * 700), member("b", b"2"), format=format)
    end = len(data.rstrip(b"\0")) // 512 * 512 + 512
    for at in [*range(0, end, 97), *range(0, end + 1, 512), end + 511]:
        with pytest.raises(InvalidTar) as caught:
            await read(data[:at], 1000)
        assert caught.value.offset == at


async def test_no_tar_at_all() -> None:
    for data in (b"x" * 2000, b"\x1f\x8b" + b"\0" * 2000):
        with pytest.raises(InvalidTar, match="at byte 0 of"):
            await read(data)


async def test_names_are_bounded() -> None:
    info, data = member("x" * 70_000)
    for format in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        with pytest.raises(InvalidTar, match="names and attributes"):
            await read(archive((info, data), format=format))


async def test_entries_are_bounded() -> None:
    data = archive(*(member(f"f{n}") for n in range(5)))
    assert len(await read(data, max_entries=5)) == 5
    with pytest.raises(InvalidTar, match="more than 4 entries"):
        await read(data, max_entries=4)


@pytest.mark.parametrize(
    "records", [b"x", b"5 a=b", b"99 path=x\n", b"0 path=x\n", b"11 pathxyz\n", b"12 size=-1\n\n"]
)
async def test_bad_attributes(records: bytes) -> None:
    head, _ = member("@", records, tarfile.XHDTYPE)
    body = head.tobuf(tarfile.USTAR_FORMAT) + records.ljust(512, b"\0")
    with pytest.raises(InvalidTar):
        await read(body + archive(member("f", b"x"), format=tarfile.USTAR_FORMAT))


@given(st.binary(max_size=1500), st.integers(0, 1100), st.integers(0, 255))
async def test_only_invalid_tar_is_raised(noise: bytes, at: int, byte: int) -> None:
    good = bytearray(archive(member("a", b"1"), format=tarfile.USTAR_FORMAT))
    good[at] = byte
    for data in (noise, bytes(good)):
        with suppress(InvalidTar):
            await read(data)


async def test_import_and_read_back(objects: ObjectStore) -> None:
    stores = Stores(objects, MemoryIndex())
    big = bytes(range(256)) * 8192
    data = archive(
        member("d/big", big),
        member("d/small", b"s"),
        member("void/", kind=tarfile.DIRTYPE),
        member("l", kind=tarfile.SYMTYPE, target="d/small"),
    )
    added = await stores.content.add_tree(tar_entries(cut(data)), stores.owned())

    async def each() -> AsyncIterator[TreeEntry]:
        yield TreeEntry("l", target="d/small")
        yield TreeEntry("void")
        yield TreeEntry("d/small", pieces(b"s"))
        yield TreeEntry("d/big", cut(big))

    elsewhere = Stores(MemoryObjects(), MemoryIndex())
    assert (await elsewhere.content.add_tree(each(), elsewhere.owned())).cid == added.cid
    top = {link.name: link.cid async for link in list_entries(stores.blocks, added.cid)}
    assert sorted(top) == ["d", "l", "void"]
    inside = {link.name: link.cid async for link in list_entries(stores.blocks, top["d"])}
    assert await stores.read(inside["big"]) == big


async def test_what_fails_leaves_nothing(objects: ObjectStore) -> None:
    stores = Stores(objects, MemoryIndex())
    good = member("a", b"1" * 3000)
    twice = archive(good, good)
    for data, error in [
        (twice, InvalidPath),
        (twice[:3000], InvalidTar),
        (archive(good, member("../x")), InvalidTar),
    ]:
        with pytest.raises(error):
            await stores.content.add_tree(tar_entries(cut(data)), stores.owned())
        assert await stores.nothing_left()


async def test_an_empty_archive_is_an_empty_directory(objects: ObjectStore) -> None:
    stores = Stores(objects, MemoryIndex())
    added = await stores.content.add_tree(tar_entries(cut(archive())), stores.owned())
    assert str(added.cid) == "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"
