"""TAR and ZIP against the readers of the standard library, over trees of any make."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.formats import REPRESENT
from gateway.names import NoNames
from gateway.negotiation import Format, Wanted
from gateway.refusals import NotSupported
from gateway.representation import TO_THE_END
from gateway.request import ContentRequest
from ipld import dag_pb, varint
from ipld.blocks import Block, FileSpan
from ipld.paths import ContentPath, resolve
from ipld.unixfs.node import Kind, encode_data
from storage.memory_blocks import MemoryBlocks
from tests.ipld.dags import blocks_of, dag_pb_block, raw_leaf, small

Tree = Mapping[str, "bytes | Tree"]

NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1, max_size=30
)
TREES = st.recursive(
    st.dictionaries(NAMES.filter(lambda name: name not in (".", "..")), st.binary(max_size=1200), max_size=4),
    lambda below: st.dictionaries(
        NAMES.filter(lambda name: name not in (".", "..")), below | st.binary(), max_size=4
    ),
    max_leaves=6,
)


def build(tree: Tree, blocks: MemoryBlocks) -> Block:
    links = []
    for name, value in sorted(tree.items(), key=lambda item: item[0].encode()):
        if isinstance(value, bytes):
            link, parts = blocks_of(value, small(chunk_size=500))
            blocks.put_all(parts)
            links.append(dag_pb.PBLink(link.cid, name, link.tsize))
        else:
            child = build(value, blocks)
            links.append(dag_pb.PBLink(child.cid, name, len(child.data)))
    root = dag_pb_block(dag_pb.encode(links, encode_data(Kind.DIRECTORY)))
    blocks.put(root)
    return root


def flat(tree: Tree, prefix: str) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {prefix: None}
    for name, value in tree.items():
        path = f"{prefix}/{name}"
        found |= {path: value} if isinstance(value, bytes) else flat(value, path)
    return found


async def packed(blocks: MemoryBlocks, root: Block, format: Format) -> io.BytesIO:
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


def from_tar(file: io.BytesIO) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    with tarfile.open(fileobj=file) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            found[member.name] = None if content is None else content.read()
    return found


def from_zip(file: io.BytesIO) -> dict[str, bytes | None]:
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        infos = archive.infolist()
        return {i.filename.rstrip("/"): None if i.is_dir() else archive.read(i) for i in infos}


@pytest.mark.parametrize(("format", "unpack"), [(Format.TAR, from_tar), (Format.ZIP, from_zip)])
@settings(deadline=None, max_examples=30)
@given(tree=TREES)
async def test_what_went_in_comes_out(
    format: Format, unpack: Callable[[io.BytesIO], dict[str, bytes | None]], tree: Tree
) -> None:
    blocks = MemoryBlocks()
    root = build(tree, blocks)
    assert unpack(await packed(blocks, root, format)) == flat(tree, str(root.cid))


def described(kind: int, data: bytes, mode: int, seconds: int) -> Block:
    message = b"\x08" + varint.encode(kind) + (b"\x12" + varint.encode(len(data)) + data if data else b"")
    message += b"\x38" + varint.encode(mode)
    time = b"\x08" + varint.encode(seconds & (2**64 - 1))
    return dag_pb_block(dag_pb.encode([], message + b"\x42" + varint.encode(len(time)) + time))


@pytest.mark.parametrize("seconds", [0, 1_700_000_000, -1, 2**40])
async def test_mode_time_and_symlinks(seconds: int) -> None:
    file, link = described(2, b"content", 0o750, seconds), described(4, b"../target", 0o777, seconds)
    links = [dag_pb.PBLink(file.cid, "file", 7), dag_pb.PBLink(link.cid, "link", 9)]
    root = dag_pb_block(dag_pb.encode(links, encode_data(Kind.DIRECTORY)))
    blocks = MemoryBlocks([file, link, root])
    with tarfile.open(fileobj=await packed(blocks, root, Format.TAR)) as archive:
        directory, first, second = archive.getmembers()
        assert (first.mode, first.mtime) == (0o750, seconds)
        assert (second.issym(), second.linkname) == (True, "../target")
        assert (directory.mode, directory.isdir()) == (0o755, True)
    with zipfile.ZipFile(await packed(blocks, root, Format.ZIP)) as archive:
        _, inside, target = archive.infolist()
        assert stat.filemode(inside.external_attr >> 16) == "-rwxr-x---"
        assert stat.filemode(target.external_attr >> 16) == "lrwxrwxrwx"
        assert archive.read(target) == b"../target"
        assert 1980 <= inside.date_time[0] <= 2107


async def test_names_that_a_zip_cannot_say() -> None:
    leaf = raw_leaf(b"x")
    names = ["..\\..\\evil.exe", "a\udcffb"]
    links = [dag_pb.PBLink(leaf.cid, name, 1) for name in names]
    root = dag_pb_block(dag_pb.encode(links, encode_data(Kind.DIRECTORY)))
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
