"""json, cbor, dag-json and dag-cbor: served as they are, or not at all; and the page that shows them."""

from __future__ import annotations

import re

import pytest

from gateway.formats.codec import represent_codec
from gateway.formats.codec_page import MAX_ROWS, preview_etag, render_preview
from gateway.headers import IMMUTABLE
from gateway.negotiation import Format, Wanted
from gateway.refusals import NotAcceptable
from gateway.representation import Representation
from gateway.request import ContentRequest
from ipld import codecs, dag_pb
from ipld.blocks import Block
from ipld.cid import CBOR, DAG_CBOR, DAG_JSON, DAG_PB, JSON, RAW, Cid
from ipld.data_model import MAX_DEPTH, Value
from ipld.errors import MalformedBlock, NotUnixFs
from ipld.paths import ContentPath, Found
from ipld.unixfs.directory import build_tree
from ipld.unixfs.node import Link
from ipld.unixfs.profiles import UNIXFS_V1_2025
from storage.memory_blocks import MemoryBlocks
from tests.gateway.gateways import Running


def block(data: bytes, codec: int) -> Block:
    return Block(Cid.of(data, codec), data)


VALUE: Value = {"hello": ["world", b"\0\xff", 1.5, None, True, {}], "next": Cid.of(b"next")}
NATIVE = {
    DAG_JSON: block(codecs.encode(DAG_JSON, VALUE), DAG_JSON),
    DAG_CBOR: block(codecs.encode(DAG_CBOR, VALUE), DAG_CBOR),
    JSON: block(b' {"test": "plain json"}\n', JSON),
    CBOR: block(bytes.fromhex("bf6474657374c074" + "32" * 20 + "ff"), CBOR),
}
FILE = block(b'{ "test": "i am a plain json file" }\n', RAW)
TREE = build_tree({"a.txt": Link("", FILE.cid, 4)}, UNIXFS_V1_2025)
PLAIN_NODE = block(dag_pb.encode((), b"not unixfs"), DAG_PB)
BLOCKS = MemoryBlocks([*NATIVE.values(), FILE, PLAIN_NODE, *TREE.blocks])
DIRECTORY = TREE.root.cid


def asking(cid: Cid, format: Format = Format.UNIXFS, **more: object) -> tuple[ContentRequest, Found]:
    slash = bool(more.pop("slash", False))
    path = ContentPath("ipfs", str(cid), trailing_slash=slash)
    wanted = ContentRequest(path, Wanted(format), path.encoded(), str(more.pop("query", "")), **more)  # type: ignore[arg-type]
    return wanted, Found(path, cid, (cid,), (), (), mutable=False, ttl=None)


async def answer(
    cid: Cid, format: Format = Format.UNIXFS, html: bool = False, **more: object
) -> Representation:
    return await represent_codec(BLOCKS, *asking(cid, format, html=html, **more))


SERVED = [
    (JSON, Format.UNIXFS, "application/json", "json"),
    (JSON, Format.JSON, "application/json", "json"),
    (CBOR, Format.UNIXFS, "application/cbor", "cbor"),
    (CBOR, Format.CBOR, "application/cbor", "cbor"),
    (DAG_JSON, Format.UNIXFS, "application/vnd.ipld.dag-json", "dag-json"),
    (DAG_JSON, Format.DAG_JSON, "application/vnd.ipld.dag-json", "dag-json"),
    (DAG_JSON, Format.JSON, "application/json", "json"),
    (DAG_CBOR, Format.UNIXFS, "application/vnd.ipld.dag-cbor", "dag-cbor"),
    (DAG_CBOR, Format.DAG_CBOR, "application/vnd.ipld.dag-cbor", "dag-cbor"),
    (DAG_CBOR, Format.CBOR, "application/cbor", "cbor"),
]


@pytest.mark.parametrize(("codec", "format", "media_type", "suffix"), SERVED)
async def test_blocks_are_served_as_they_are(
    codec: int, format: Format, media_type: str, suffix: str
) -> None:
    cid = NATIVE[codec].cid
    shown = await answer(cid, format)
    assert shown.body == NATIVE[codec].data
    assert shown.wire["Content-Type"] == media_type
    assert shown.wire["Etag"] == f'"{cid}.{suffix}"'
    assert shown.wire["Cache-Control"] == IMMUTABLE
    assert shown.wire["X-Content-Type-Options"] == "nosniff"
    assert shown.wire["X-Ipfs-Roots"] == str(cid)
    assert shown.wire["Accept-Ranges"] == "bytes"
    assert shown.wire["Content-Length"] == str(len(NATIVE[codec].data))
    kind, extension = ("inline", "json") if "json" in media_type else ("attachment", "cbor")
    assert shown.wire["Content-Disposition"].startswith(f'{kind}; filename="{cid}.{extension}"')


async def test_names_and_downloads() -> None:
    shown = await answer(NATIVE[DAG_JSON].cid, filename="foobar.json")
    assert shown.wire["Content-Disposition"].startswith('inline; filename="foobar.json"')
    for html in (False, True):
        shown = await answer(NATIVE[DAG_JSON].cid, filename="foobar.json", download=True, html=html)
        assert shown.wire["Content-Disposition"].startswith('attachment; filename="foobar.json"')
        assert shown.body == NATIVE[DAG_JSON].data


@pytest.mark.parametrize(
    ("cid", "codec", "format", "media_type"),
    [
        (FILE.cid, "raw", Format.DAG_JSON, "application/vnd.ipld.dag-json"),
        (DIRECTORY, "dag-pb", Format.DAG_JSON, "application/vnd.ipld.dag-json"),
        (DIRECTORY, "dag-pb", Format.DAG_CBOR, "application/vnd.ipld.dag-cbor"),
        (NATIVE[DAG_JSON].cid, "dag-json", Format.DAG_CBOR, "application/vnd.ipld.dag-cbor"),
        (NATIVE[DAG_JSON].cid, "dag-json", Format.CBOR, "application/cbor"),
        (NATIVE[DAG_CBOR].cid, "dag-cbor", Format.DAG_JSON, "application/vnd.ipld.dag-json"),
        (NATIVE[DAG_CBOR].cid, "dag-cbor", Format.JSON, "application/json"),
        (NATIVE[JSON].cid, "json", Format.DAG_JSON, "application/vnd.ipld.dag-json"),
        (NATIVE[CBOR].cid, "cbor", Format.DAG_CBOR, "application/vnd.ipld.dag-cbor"),
        (Cid.of(b"", 0x78), "git-raw", Format.JSON, "application/json"),
    ],
)
async def test_nothing_is_converted(cid: Cid, codec: str, format: Format, media_type: str) -> None:
    with pytest.raises(NotAcceptable) as caught:
        await represent_codec(MemoryBlocks(), *asking(cid, format))
    assert str(caught.value) == (
        f'format "{media_type}" requested but block has codec "{codec}": codec conversion is not supported, '
        "fetch raw block with ?format=raw and convert client-side"
    )


@pytest.mark.parametrize("format", [Format.JSON, Format.CBOR])
async def test_files_are_files_in_these_formats_too(format: Format) -> None:
    shown, plain = await answer(FILE.cid, format), await answer(FILE.cid)
    assert (shown.body, shown.content_type) == (plain.body, plain.content_type)
    assert shown.body == FILE.data
    assert plain.etag == f'"{FILE.cid}"'
    assert shown.etag == shown.wire["Etag"] == f'"{FILE.cid}.{format}"'
    listing = await answer(DIRECTORY, format, slash=True)
    assert listing.etag is not None
    assert listing.etag.startswith('"DirIndex-')
    assert (await answer(DIRECTORY, format)).status == 301


async def test_what_is_neither() -> None:
    for cid in (PLAIN_NODE.cid, Cid.of_digest(b"", 0x78, code=0)):
        with pytest.raises(NotUnixFs):
            await answer(cid)


@pytest.mark.parametrize(
    ("codec", "data"),
    [
        (DAG_CBOR, bytes.fromhex("a263666f6f0163666f6f02")),
        (DAG_CBOR, b"\x81" * 1024 * 1024),
        (DAG_JSON, b'{"foo":1,"foo":2}'),
        (DAG_JSON, b"[" * 1024 * 1024),
        (JSON, b"{"),
        (CBOR, b"\xff"),
    ],
)
async def test_malformed_blocks_are_refused(codec: int, data: bytes) -> None:
    bad = block(data, codec)
    for html in (False, True):
        with pytest.raises(MalformedBlock):
            await represent_codec(MemoryBlocks([bad]), *asking(bad.cid, slash=True, html=html))


@pytest.mark.parametrize("codec", [DAG_JSON, DAG_CBOR])
async def test_browsers_get_a_page(codec: int) -> None:
    cid = NATIVE[codec].cid
    shown = await answer(cid, html=True, slash=True)
    assert shown.wire["Content-Type"] == "text/html; charset=utf-8"
    assert shown.etag == preview_etag(cid)
    assert shown.etag.startswith('"DagIndex-')
    assert shown.etag.endswith(f'_CID-{cid}"')
    assert not {"Cache-Control", "Content-Disposition"} & set(shown.headers)
    assert "default-src 'none'" in shown.wire["Content-Security-Policy"]
    assert shown.wire["Vary"] == "Accept"
    assert shown.body is not None
    page = shown.body.decode()
    assert "</html>" in page
    for part in (
        "“world”",
        "<code>00ff</code> (2 bytes)",
        "<code>1.5</code>",
        "<code>null</code>",
        "<code>true</code>",
        f'href="/ipfs/{Cid.of(b"next")}"',
        'href="?format=raw"',
        f'href="?format={"dag-json" if codec == DAG_JSON else "dag-cbor"}"',
    ):
        assert part in page
    assert page.count("<ul>") == page.count("</ul>")
    assert page.index("hello") < page.index("world")


async def test_the_page_has_a_trailing_slash() -> None:
    cid = NATIVE[DAG_CBOR].cid
    shown = await answer(cid, html=True, query="a=b")
    assert (shown.status, shown.wire["Location"]) == (301, f"/ipfs/{cid}/?a=b")
    assert "Cache-Control" not in shown.wire


@pytest.mark.parametrize("codec", [JSON, CBOR])
async def test_plain_blocks_have_no_page(codec: int) -> None:
    assert (await answer(NATIVE[codec].cid, html=True)).body == NATIVE[codec].data


async def test_a_format_that_was_asked_for_is_no_page() -> None:
    shown = await answer(NATIVE[DAG_JSON].cid, Format.DAG_JSON, html=True)
    assert shown.body == NATIVE[DAG_JSON].data


def page_of(value: Value, *segments: str) -> str:
    wanted = asking(NATIVE[DAG_CBOR].cid)[0]
    path = ContentPath("ipfs", wanted.path.root, segments, trailing_slash=True)
    request = ContentRequest(path, wanted.wanted, path.encoded(), "")
    return render_preview(request, NATIVE[DAG_CBOR].cid, 1, value)


def test_nothing_in_a_block_gets_out_of_the_page() -> None:
    evil = '</ul><script>alert(1)</script><a href="javascript:x">"\'&{{ 7*7 }}'
    page = page_of({evil: [evil, evil.encode()]}, evil)
    assert "<script" not in page
    assert not re.search(r'href="(?!/ipfs/|\?format=|data:image/svg)', page)
    assert "&lt;script&gt;" in page
    assert "\u202e" not in page_of({"\u202egnp.exe": "\u202e"})
    assert "\x00" not in page_of("\x00")


def test_the_page_stays_short() -> None:
    page = page_of(["x" * 10_000] * 100_000 + [b"x" * 10**6])
    assert len(page) < MAX_ROWS * 700
    assert page.count("<ul>") == page.count("</ul>")
    deep: Value = []
    for _ in range(MAX_DEPTH - 1):
        deep = {"a": deep}
    page = page_of(deep)
    assert page.count("<ul>") == page.count("</ul>") == MAX_DEPTH
    assert page_of(10**4000).count("9") < 100


@pytest.mark.parametrize("codec", [DAG_JSON, DAG_CBOR])
async def test_over_http(gate: Running, codec: int) -> None:
    def made(value: Value) -> Block:
        return block(codecs.encode(codec, value), codec)

    end = made({"hello": "this is not a link"})
    middle = made({"bar": end.cid})
    root = made({"foo": {"link": middle.cid, "object": {"banana": 10}}})
    await gate.add_blocks(end, middle, root)
    for tail in ("", "?format=dag-json" if codec == DAG_JSON else "?format=dag-cbor"):
        found = await gate.get(f"/ipfs/{root.cid}/foo/link/bar{tail}")
        assert (found.status, found.body) == (200, end.data)
        assert found.headers["X-Ipfs-Roots"].split(",")[-1] == str(end.cid)
        part = await gate.get(f"/ipfs/{end.cid}{tail}", Range="bytes=2-5")
        assert (part.status, part.body) == (206, end.data[2:6])
        head = await gate.ask("HEAD", f"/ipfs/{end.cid}{tail}")
        assert (head.status, head.headers["Content-Length"]) == (200, str(len(end.data)))
        kept = await gate.get(f"/ipfs/{end.cid}{tail}", If_None_Match=head.headers["Etag"])
        assert kept.status == 304
        assert (await gate.get(f"/ipfs/{root.cid}/foo{tail}")).status == 501
        assert (await gate.get(f"/ipfs/{root.cid}/foo/i-do-not-exist{tail}")).status == 404
    other = await gate.get(f"/ipfs/{end.cid}?format={'dag-cbor' if codec == DAG_JSON else 'dag-json'}")
    assert other.status == 406
    assert "codec conversion is not supported" in other.text
