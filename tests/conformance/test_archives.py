"""TAR and ZIP: read back by the standard library, and by what comes in again."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile

import pytest

from ipld import dag_pb
from ipld.blocks import Block
from ipld.cid import DAG_PB, Cid
from ipld.unixfs.directory import build_directory, build_symlink
from ipld.unixfs.node import Kind, Link, encode_data
from ipld.unixfs.profiles import UNIXFS_V1_2025
from tests.gateway.gateways import Running

LARGE = bytes(range(256)) * 12_000
FILES = [("a.txt", b"one"), ("sub/ünï ☃.bin", LARGE), ("sub/deep/" + "x" * 150, b"long"), ("empty", b"")]


def block(data: bytes) -> Block:
    return Block(Cid.of(data, DAG_PB), data)


async def test_tar_of_a_directory(gate: Running) -> None:
    root = (await gate.post_form(FILES)).cid
    answer = await gate.get(f"/ipfs/{root}?format=tar")
    assert answer.headers["Content-Type"] == "application/x-tar"
    assert answer.headers["Etag"] == f'W/"{root}.x-tar"'
    assert f'attachment; filename="{root}.tar"' in answer.headers["Content-Disposition"]
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as archive:
        found = {member.name: member for member in archive}
        for name, data in FILES:
            member = archive.extractfile(f"{root}/{name}")
            assert member is not None
            assert member.read() == data
        assert next(iter(found)) == root
        assert found[f"{root}/sub"].isdir()
    again = await gate.write("POST", "/ipfs/", answer.body, Content_Type="application/x-tar")
    wrapped = build_directory([Link(root, Cid.parse(root), 0)], UNIXFS_V1_2025)
    assert again.status == 201
    assert (await gate.get(f"/ipfs/{again.cid}/{root}/a.txt")).body == b"one"
    assert wrapped


async def test_zip_of_a_directory(gate: Running) -> None:
    root = (await gate.post_form(FILES)).cid
    answer = await gate.get(f"/ipfs/{root}?format=zip")
    assert answer.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        for name, data in FILES:
            assert archive.read(f"{root}/{name}") == data
        assert f"{root}/sub/" in archive.namelist()


@pytest.mark.parametrize("format", ["tar", "zip"])
async def test_one_file_is_an_archive_of_one(gate: Running, format: str) -> None:
    cid = (await gate.write("PUT", "/ipfs/x", b"alone")).cid
    body = (await gate.get(f"/ipfs/{cid}?format={format}")).body
    if format == "tar":
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            assert archive.getnames() == [cid]
    else:
        with zipfile.ZipFile(io.BytesIO(body)) as packed:
            assert packed.read(cid) == b"alone"


async def test_modes_times_and_links(gate: Running) -> None:
    # UnixFS 1.5: fields 7 (mode) and 8 (mtime) of the Data message.
    file = block(
        dag_pb.encode([], encode_data(Kind.FILE, b"hi") + b"\x38\xed\x03\x42\x06\x08\x80\xba\xf2\xdf\x06")
    )
    link = build_symlink("a", UNIXFS_V1_2025)
    directory = build_directory([Link("a", file.cid, 9), Link("l", link.cid, 9)], UNIXFS_V1_2025)[-1]
    await gate.add_blocks(file, link, directory)
    body = (await gate.get(f"/ipfs/{directory.cid}?format=tar")).body
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        member = archive.getmember(f"{directory.cid}/a")
        assert (member.mode, member.mtime) == (0o755, 1_811_717_376)
        linked = archive.getmember(f"{directory.cid}/l")
        assert (linked.issym(), linked.linkname) == (True, "a")
    packed = zipfile.ZipFile(io.BytesIO((await gate.get(f"/ipfs/{directory.cid}?format=zip")).body))
    assert stat.S_ISLNK(packed.getinfo(f"{directory.cid}/l").external_attr >> 16)
    assert packed.getinfo(f"{directory.cid}/a").date_time[0] == 2027


@pytest.mark.parametrize("format", ["tar", "zip"])
@pytest.mark.parametrize("name", ["../out", "..", "a/../../../out", "."])
async def test_names_that_lead_out_are_refused(gate: Running, format: str, name: str) -> None:
    file = block(dag_pb.encode([], encode_data(Kind.FILE, b"hi")))
    data = dag_pb.encode([dag_pb.PBLink(file.cid, name, 9)], encode_data(Kind.DIRECTORY))
    await gate.add_blocks(file, block(data))
    assert (await gate.get(f"/ipfs/{block(data).cid}?format={format}")).status == 422


@pytest.mark.parametrize("format", ["tar", "zip", "dir-json"])
async def test_what_is_no_unixfs_has_no_files(gate: Running, format: str) -> None:
    cid = (
        await gate.write(
            "POST", "/ipfs/?cid-codec=dag-cbor", b"\xa0", Content_Type="application/vnd.ipld.raw"
        )
    ).cid
    assert (await gate.get(f"/ipfs/{cid}?format={format}")).status == 406
