"""TAR and ZIP against the readers of the standard library, over trees of any make, and in again."""

from __future__ import annotations

import io
import stat
import tarfile
import time
import zipfile
from collections.abc import Callable, Mapping
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.formats import REPRESENT
from gateway.negotiation import Format, Wanted
from gateway.refusals import NotSupported
from gateway.representation import TO_THE_END
from gateway.request import ContentRequest
from ipld import dag_pb
from ipld.blocks import Block, FileSpan
from ipld.paths import ContentPath, resolve
from ipld.unixfs.node import Kind, Metadata, Mtime, encode_data
from naming.names import NoNames
from storage.memory_blocks import MemoryBlocks
from tests.gateway.gateways import Running
from tests.ipld.dags import blocks_of, dag_pb_block, directory, raw_leaf, small

Tree = Mapping[str, "bytes | Tree"]
Contents = dict[str, bytes | None]

LARGE = bytes(range(256)) * 12_000
FILES = [("a.txt", b"one"), ("sub/ünï ☃.bin", LARGE), ("sub/deep/" + "x" * 150, b"long"), ("empty", b"")]
TAR = "application/x-tar"

NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1, max_size=30
).filter(lambda name: name not in (".", ".."))
TREES = st.recursive(
    st.dictionaries(NAMES, st.binary(max_size=1200), max_size=4),
    lambda below: st.dictionaries(NAMES, below | st.binary(), max_size=4),
    max_leaves=6,
)


def build(tree: Tree, blocks: MemoryBlocks) -> Block:
    entries = []
    for name, value in sorted(tree.items(), key=lambda item: item[0].encode()):
        if isinstance(value, bytes):
            link, parts = blocks_of(value, small(chunk_size=500))
            blocks.put_all(parts)
            entries.append((name, next(part for part in parts if part.cid == link.cid)))
        else:
            entries.append((name, build(value, blocks)))
    root = directory(*entries)
    blocks.put(root)
    return root


def flat(tree: Tree, prefix: str) -> Contents:
    found: Contents = {prefix: None}
    for name, value in tree.items():
        path = f"{prefix}/{name}"
        found |= {path: value} if isinstance(value, bytes) else flat(value, path)
    return found


async def packed(blocks: MemoryBlocks, root: Block, format: Format) -> io.BytesIO:
    """Without a server: for blocks that no store of ours would take, and for many trees."""
    path = ContentPath.parse(f"/ipfs/{root.cid}")
    wanted = ContentRequest(path=path, wanted=Wanted(format), raw_path=str(path), query="")
    answer = await REPRESENT[format](blocks, wanted, await resolve(NoNames(), blocks, path))
    assert answer.read is not None
    collected = io.BytesIO()
    async with aclosing(answer.read(0, TO_THE_END)) as pieces:
        async for piece in pieces:
            assert not isinstance(piece, FileSpan)
            collected.write(piece)
    collected.seek(0)
    return collected


def from_tar(file: io.BytesIO) -> Contents:
    found: Contents = {}
    with tarfile.open(fileobj=file) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            found[member.name] = None if content is None else content.read()
    return found


def from_zip(file: io.BytesIO) -> Contents:
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        infos = archive.infolist()
        assert all(info.is_dir() == info.filename.endswith("/") for info in infos)
        return {i.filename.rstrip("/"): None if i.is_dir() else archive.read(i) for i in infos}


KINDS = pytest.mark.parametrize(("format", "unpack"), [(Format.TAR, from_tar), (Format.ZIP, from_zip)])


@KINDS
@settings(deadline=None, max_examples=30)
@given(tree=TREES)
async def test_what_went_in_comes_out(
    format: Format, unpack: Callable[[io.BytesIO], Contents], tree: Tree
) -> None:
    blocks = MemoryBlocks()
    root = build(tree, blocks)
    assert unpack(await packed(blocks, root, format)) == flat(tree, str(root.cid))


@KINDS
async def test_a_directory_over_http(
    gate: Running, format: Format, unpack: Callable[[io.BytesIO], Contents]
) -> None:
    root = (await gate.post_form(FILES)).cid
    answer = await gate.get(f"/ipfs/{root}?format={format}")
    kind, tag = (TAR, "x-tar") if format is Format.TAR else ("application/zip", "zip")
    assert answer.headers["Content-Type"] == kind
    assert answer.headers["ETag"] == f'W/"{root}.{tag}"'
    assert f'attachment; filename="{root}.{format}"' in answer.headers["Content-Disposition"]
    found = unpack(io.BytesIO(answer.body))
    assert next(iter(found)) == root
    folders = {root: None, f"{root}/sub": None, f"{root}/sub/deep": None}
    assert found == folders | {f"{root}/{name}": data for name, data in FILES}


@KINDS
async def test_one_file_is_an_archive_of_one(
    gate: Running, format: Format, unpack: Callable[[io.BytesIO], Contents]
) -> None:
    cid = await gate.put("x", b"alone")
    assert unpack(io.BytesIO((await gate.get(f"/ipfs/{cid}?format={format}")).body)) == {cid: b"alone"}


async def test_a_tar_of_ours_comes_in_again(gate: Running) -> None:
    root = (await gate.post_form(FILES)).cid
    body = (await gate.get(f"/ipfs/{root}?format=tar")).body
    again = await gate.write("POST", "/ipfs/", body, Content_Type=TAR)
    assert again.status == 201
    inside = await gate.ask("HEAD", f"/ipfs/{again.cid}/{root}?format=tar")
    assert inside.headers["X-Ipfs-Roots"].split(",")[-1] == root


def example() -> bytes:
    """A TAR whose entries have modes and times; as always the directory comes before what it holds."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, mode, mtime in (
            (".", tarfile.DIRTYPE, 0o1750, "1500000000.5"),
            ("file", tarfile.REGTYPE, 0o4711, "1700000000.123456789"),
            ("link", tarfile.SYMTYPE, 0o777, "1600000000"),
            ("old", tarfile.REGTYPE, 0o600, "-1.25"),
            ("sub", tarfile.DIRTYPE, 0o700, "-5"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.pax_headers = kind, mode, {"mtime": mtime}
            info.linkname = "file" if kind == tarfile.SYMTYPE else ""
            tar.addfile(info)
    return out.getvalue()


async def test_modes_and_times_go_in_and_come_out(gate: Running) -> None:
    query = "?preserve-mode=true&preserve-mtime=true"
    added = await gate.write("POST", f"/ipfs/{query}", example(), Content_Type=TAR)
    # tar -xpf example.tar -C x && ipfs add -rQ --raw-leaves=false --cid-version=1 --preserve-mode
    # --preserve-mtime x
    assert added.cid == "bafybeielht3hpcmzntev77l2gk4y724yvwu3mspxrih3jmli64k7mcv26u"
    assert added.json["profile"] is None
    body = (await gate.get(f"/ipfs/{added.cid}?format=tar")).body
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        found = {
            member.name.removeprefix(added.cid): (member.mode, member.pax_headers.get("mtime", member.mtime))
            for member in archive
        }
    assert found == {
        "": (0o1750, "1500000000.5"),
        "/file": (0o4711, "1700000000.123456789"),
        "/link": (0o777, 1_600_000_000),
        "/old": (0o600, "-1.25"),
        "/sub": (0o700, "-5"),
    }
    again = await gate.write("POST", f"/ipfs/{query}", body, Content_Type=TAR)
    inside = await gate.ask("HEAD", f"/ipfs/{again.cid}/{added.cid}?format=tar")
    assert inside.headers["X-Ipfs-Roots"].split(",")[-1] == added.cid


@pytest.mark.parametrize(
    ("query", "is_plain"),
    [
        ("", True),
        ("?preserve-mode=false&preserve-mtime=false", True),
        ("?preserve-mode=true", False),
        ("?preserve-mtime=true", False),
    ],
)
async def test_modes_and_times_are_left_out_unless_they_are_wanted(
    gate: Running, query: str, is_plain: bool
) -> None:
    plain = await gate.write("POST", "/ipfs/", example(), Content_Type=TAR)
    assert plain.json["profile"] == "unixfs-v1-2025"
    added = await gate.write("POST", f"/ipfs/{query}", example(), Content_Type=TAR)
    assert (added.cid == plain.cid) == is_plain


@pytest.mark.parametrize("query", ["preserve-mode=yes", "preserve-mtime=", "preserve-mtime=1"])
async def test_a_wish_that_cannot_be_read(gate: Running, query: str) -> None:
    assert (await gate.write("POST", f"/ipfs/?{query}", example(), Content_Type=TAR)).status == 400


def described(kind: Kind, data: bytes, metadata: Metadata) -> Block:
    return dag_pb_block(dag_pb.encode([], encode_data(kind, data) + metadata.encode(Kind.FILE)))


@pytest.mark.parametrize("seconds", [0, 1_700_000_000, 1_811_717_376, -1, 2**40])
async def test_mode_time_and_symlinks(seconds: int) -> None:
    file = described(Kind.FILE, b"content", Metadata(0o750, Mtime(seconds)))
    link = described(Kind.SYMLINK, b"../target", Metadata(0o777, Mtime(seconds)))
    root = directory(("file", file), ("link", link))
    blocks = MemoryBlocks([file, link, root])
    with tarfile.open(fileobj=await packed(blocks, root, Format.TAR)) as archive:
        top, first, second = archive.getmembers()
        assert (first.mode, first.mtime) == (0o750, seconds)
        assert (second.issym(), second.linkname) == (True, "../target")
        assert (top.mode, top.isdir()) == (0o755, True)
    with zipfile.ZipFile(await packed(blocks, root, Format.ZIP)) as archive:
        _, inside, target = archive.infolist()
        assert stat.filemode(inside.external_attr >> 16) == "-rwxr-x---"
        assert stat.filemode(target.external_attr >> 16) == "lrwxrwxrwx"
        assert archive.read(target) == b"../target"
        assert inside.date_time[0] == min(max(time.gmtime(seconds).tm_year, 1980), 2107)


@pytest.mark.parametrize("format", ["tar", "zip"])
@pytest.mark.parametrize("name", ["../out", "..", "a/../../../out", "."])
async def test_names_that_lead_out_are_refused(gate: Running, format: str, name: str) -> None:
    file = raw_leaf(b"hi")
    root = directory((name, file))
    await gate.add_blocks(file, root)
    assert (await gate.get(f"/ipfs/{root.cid}?format={format}")).status == 422


async def test_names_that_a_zip_cannot_say() -> None:
    leaf = raw_leaf(b"x")
    names = ["..\\..\\evil.exe", "a\udcffb"]
    root = directory(*[(name, leaf) for name in names])
    found = from_zip(await packed(MemoryBlocks([leaf, root]), root, Format.ZIP))
    assert list(found)[1:] == [f"{root.cid}/..%5C..%5Cevil.exe", f"{root.cid}/a%FFb"]
    same = from_tar(await packed(MemoryBlocks([leaf, root]), root, Format.TAR))
    assert list(same)[1:] == [f"{root.cid}/{name}" for name in names]


async def test_a_zip_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.formats.zip.MAX_ENTRIES", 3)
    blocks = MemoryBlocks()
    root = build(dict.fromkeys("abc", b"x"), blocks)
    with pytest.raises(NotSupported, match="format=tar"):
        await packed(blocks, root, Format.ZIP)
    assert len(from_tar(await packed(blocks, root, Format.TAR))) == 4


@pytest.mark.parametrize("names", [["twice", "twice"], ["line\n", "line%0A"]])
async def test_a_zip_has_each_name_once(names: list[str]) -> None:
    leaf = raw_leaf(b"x")
    root = directory(*[(name, leaf) for name in names])
    with pytest.raises(NotSupported, match="format=tar"):
        await packed(MemoryBlocks([leaf, root]), root, Format.ZIP)
    with tarfile.open(fileobj=await packed(MemoryBlocks([leaf, root]), root, Format.TAR)) as archive:
        assert len(archive.getmembers()) == 3


async def test_a_path_that_is_too_long_for_a_zip(gate: Running) -> None:
    leaf = raw_leaf(b"x")
    for length, status in ((65_535 - 61, 200), (65_535, 501)):
        root = directory(("n" * length, leaf))
        await gate.add_blocks(leaf, root)
        answer = await gate.get(f"/ipfs/{root.cid}?format=zip")
        assert answer.status == status, answer.body[:200]
        assert (await gate.get(f"/ipfs/{root.cid}?format=tar")).status == 200


@pytest.mark.parametrize("format", ["tar", "zip", "dir-json"])
async def test_what_is_no_unixfs_has_no_files(gate: Running, format: str) -> None:
    kind = "application/vnd.ipld.raw"
    cid = (await gate.write("POST", "/ipfs/?cid-codec=dag-cbor", b"\xa0", Content_Type=kind)).cid
    assert (await gate.get(f"/ipfs/{cid}?format={format}")).status == 406
