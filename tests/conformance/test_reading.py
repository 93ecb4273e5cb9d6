"""Reading files: names, types, formats, headers, and what is not there."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from urllib.parse import quote

import pytest

from ipld import varint
from ipld.cid import Cid
from tests.gateway.gateways import Running
from tests.ipld.dags import dag_pb_block

IMMUTABLE = "public, max-age=29030400, immutable"
MISSING = "QmYzfKSE55XCjD1MW128RfciAf2DViABhEiXfgVFMabSjN"


async def test_a_file_and_its_headers(gate: Running) -> None:
    cid = await gate.put("photo.txt", b"hello\n")
    answer = await gate.get(f"/ipfs/{cid}")
    assert (answer.status, answer.body) == (200, b"hello\n")
    expected = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": "6",
        "ETag": f'"{cid}"',
        "Cache-Control": IMMUTABLE,
        "Accept-Ranges": "bytes",
        "X-Ipfs-Path": f"/ipfs/{cid}",
        "X-Ipfs-Roots": cid,
        "Access-Control-Allow-Origin": "*",
        "Server": "cidgate",
    }
    assert {name: answer.headers.get(name) for name in expected} == expected
    assert "Last-Modified" not in answer.headers
    assert "Content-Disposition" not in answer.headers


@pytest.mark.parametrize(
    ("query", "disposition", "kind"),
    [
        ("?filename=a.pdf", "inline; filename=\"a.pdf\"; filename*=UTF-8''a.pdf", "application/pdf"),
        (
            "?filename=a.pdf&download=true",
            "attachment; filename=\"a.pdf\"; filename*=UTF-8''a.pdf",
            "application/pdf",
        ),
        ("?filename=%C5%BA.png", "inline; filename=\"_.png\"; filename*=UTF-8''%C5%BA.png", "image/png"),
        (
            "?filename=a%0D%0Ab%22.css",
            "inline; filename=\"a__b_.css\"; filename*=UTF-8''a__b_.css",
            "text/css",
        ),
        ("?format=webp", None, "text/plain"),
        ("?format=", None, "text/plain"),
        ("?unknown=1", None, "text/plain"),
    ],
)
async def test_names_and_downloads(gate: Running, query: str, disposition: str | None, kind: str) -> None:
    cid = await gate.put("x", b"hello\n")
    answer = await gate.get(f"/ipfs/{cid}{query}")
    assert answer.status == 200
    assert answer.headers.get("Content-Disposition") == disposition
    assert answer.headers["Content-Type"].partition(";")[0] == kind
    assert answer.headers["ETag"] == f'"{cid}"'


async def test_download_alone_takes_the_cid_or_the_last_name(gate: Running) -> None:
    cid = await gate.put("x", b"hello\n")
    root = (await gate.post_form([("a/b.txt", b"hello\n"), ("c", b"")])).cid
    assert (
        f'attachment; filename="{cid}"'
        in (await gate.get(f"/ipfs/{cid}?download=true")).headers["Content-Disposition"]
    )
    inside = await gate.get(f"/ipfs/{root}/a/b.txt?download=true")
    assert 'attachment; filename="b.txt"' in inside.headers["Content-Disposition"]


@pytest.mark.parametrize("headers", [{}, {"Accept": "application/vnd.ipld.raw"}])
async def test_a_raw_block(gate: Running, headers: dict[str, str]) -> None:
    cid = await gate.put("x", b"<html>not sniffed")
    answer = await gate.get(f"/ipfs/{cid}" + ("" if headers else "?format=raw"), **headers)
    assert (answer.status, answer.body) == (200, b"<html>not sniffed")
    assert answer.headers["Content-Type"] == "application/vnd.ipld.raw"
    assert answer.headers["Content-Disposition"].startswith(f'attachment; filename="{cid}.bin"')
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["ETag"] == f'"{cid}.raw"'
    assert answer.headers["Cache-Control"] == IMMUTABLE


async def test_format_counts_before_accept(gate: Running) -> None:
    cid = await gate.put("x", b"hello\n")
    answer = await gate.get(f"/ipfs/{cid}?format=raw", Accept="text/html")
    assert answer.headers["Content-Type"] == "application/vnd.ipld.raw"


@pytest.mark.parametrize("format", ["dag-json", "dag-cbor", "dir-json"])
async def test_formats_that_the_content_has_not(gate: Running, format: str) -> None:
    answer = await gate.get(f"/ipfs/bafkqaaa?format={format}")
    assert answer.status == 406
    assert answer.headers["X-Ipfs-Path"] == "/ipfs/bafkqaaa"


async def test_the_probe_of_trustless_clients(gate: Running) -> None:
    for answer in (
        await gate.get("/ipfs/bafkqaaa?format=raw"),
        await gate.ask("HEAD", "/ipfs/bafkqaaa?format=raw"),
    ):
        assert (answer.status, answer.headers["Content-Length"]) == (200, "0")


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.ts", b"G" * 400, "video/mp2t"),
        ("a.m3u8", b"#EXTM3U", "application/vnd.apple.mpegurl"),
        ("a.m4s", b"x", "video/iso.segment"),
        ("a.svg", b"<svg></svg>", "image/svg+xml"),
        ("a.json", b"{}", "application/json"),
        ("none", b'{"name": "nft"}', "application/json"),
        ("none", b"<!DOCTYPE html><p>", "text/html"),
        ("none", b"\x89PNG\r\n\x1a\n....", "image/png"),
        ("none", b"plain", "text/plain"),
        ("none", b"\x00\x01\x02\xff", "application/octet-stream"),
        ("none", b"", "text/plain"),
    ],
)
async def test_types_by_name_then_by_content(gate: Running, name: str, data: bytes, kind: str) -> None:
    root = (await gate.post_form([(name, data), ("other", b"")])).cid
    answer = await gate.get(f"/ipfs/{root}/{name}")
    assert answer.headers["Content-Type"].partition(";")[0] == kind
    assert answer.body == data


NAMES = [
    "file-źł.txt",
    "日本 語.txt",
    "a&b=c;d,e@f.txt",
    "100%.txt",
    "#?.txt",
    "'q\".txt",
    "👩‍👩‍👧.txt",
    "%41.txt",
    "a+b c.txt",
]


@pytest.mark.parametrize("name", NAMES)
async def test_every_name_is_read_back(gate: Running, name: str) -> None:
    empty = (await gate.post_form([("x/y", b"1"), ("z", b"2")])).cid
    path = quote(f"dir/{name}")
    put = await gate.write("PUT", f"/ipfs/{empty}/{path}", b"body")
    answer = await gate.get(f"/ipfs/{put.cid}/{path}")
    assert (answer.status, answer.body) == (200, b"body")
    assert (await gate.get(put.headers["Location"])).body == b"body"
    page = (await gate.get(f"/ipfs/{put.cid}/dir/")).text
    assert f'/ipfs/{put.cid}/dir/{quote(name, safe="")}"' in page


async def test_a_symlink_is_its_target(gate: Running) -> None:
    boundary = "B"
    body = (
        '--B\r\nContent-Disposition: form-data; name="f"; filename="bar"\r\n'
        "Content-Type: application/symlink\r\n\r\nfoo\r\n"
        '--B\r\nContent-Disposition: form-data; name="f"; filename="foo"\r\n\r\ntext\r\n--B--\r\n'
    )
    kind = f"multipart/form-data; boundary={boundary}"
    root = (await gate.write("POST", "/ipfs/", body.encode(), Content_Type=kind)).cid
    answer = await gate.get(f"/ipfs/{root}/bar")
    assert (answer.body, answer.headers["Content-Type"]) == (b"foo", "inode/symlink")


async def test_mtime_is_last_modified(gate: Running) -> None:
    mtime = b"\x08" + varint.encode(784111777)
    data = b"\x08\x02\x12\x02hi\x18\x02" + b"\x42" + varint.encode(len(mtime)) + mtime
    block = dag_pb_block(b"\x0a" + varint.encode(len(data)) + data)
    await gate.add_blocks(block)
    answer = await gate.get(f"/ipfs/{block.cid}")
    assert (answer.status, answer.body) == (200, b"hi")
    assert answer.headers["Last-Modified"] == "Sun, 06 Nov 1994 08:49:37 GMT"
    same = await gate.get(f"/ipfs/{block.cid}", If_Modified_Since="Sun, 06 Nov 1994 08:49:37 GMT")
    assert (same.status, same.body) == (304, b"")
    newer = await gate.get(f"/ipfs/{block.cid}", If_Modified_Since="Sun, 06 Nov 1994 08:49:36 GMT")
    assert newer.status == 200


@pytest.mark.parametrize("seconds", [4102444800, 253402300800, 2**62, -62135596800, -62135596801, -(2**62)])
async def test_a_time_that_no_header_can_say(gate: Running, seconds: int) -> None:
    mtime = b"\x08" + varint.encode(seconds % 2**64)
    data = b"\x08\x02\x12\x02hi\x18\x02" + b"\x42" + varint.encode(len(mtime)) + mtime
    block = dag_pb_block(b"\x0a" + varint.encode(len(data)) + data)
    await gate.add_blocks(block)
    for method in ("GET", "HEAD"):
        answer = await gate.ask(method, f"/ipfs/{block.cid}")
        assert answer.status == 200
        said = answer.headers.get("Last-Modified")
        if said is None:
            assert seconds < -62135596800
        else:
            assert parsedate_to_datetime(said) <= parsedate_to_datetime(answer.headers["Date"])


@pytest.mark.parametrize("match", ['"{}"', 'W/"{}"', "*", '"x", "{}"', '"{}" , "x"'])
async def test_a_known_version_is_not_sent_again(gate: Running, match: str) -> None:
    cid = await gate.put("x", b"hello\n")
    answer = await gate.get(f"/ipfs/{cid}", If_None_Match=match.format(cid))
    assert (answer.status, answer.body) == (304, b"")
    assert answer.headers["ETag"] == f'"{cid}"'
    assert answer.headers["Cache-Control"] == IMMUTABLE
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["X-Ipfs-Path"] == f"/ipfs/{cid}"


async def test_another_version_is_sent(gate: Running) -> None:
    cid = await gate.put("x", b"hello\n")
    assert (await gate.get(f"/ipfs/{cid}", If_None_Match='"other"')).status == 200
    assert (await gate.get(f"/ipfs/{cid}", If_Match='"other"')).status == 412


async def test_other_codecs_are_no_unixfs(gate: Running) -> None:
    cid = (
        await gate.write(
            "POST", "/ipfs/?cid-codec=dag-cbor", b"\xa0", Content_Type="application/vnd.ipld.raw"
        )
    ).cid
    assert Cid.parse(cid).codec == 0x71
    assert (await gate.get(f"/ipfs/{cid}")).headers["Content-Type"] == "application/vnd.ipld.dag-cbor"
    assert (await gate.get(f"/ipfs/{cid}?format=tar")).status == 406
    assert (await gate.get(f"/ipfs/{cid}/inside")).status == 404
    assert (await gate.get(f"/ipfs/{cid}?format=raw")).body == b"\xa0"


HTML, TEXT = "text/html; charset=utf-8", "text/plain; charset=utf-8"


@pytest.mark.parametrize("accept", ["*/*", "text/html,application/xhtml+xml,*/*;q=0.8"])
async def test_what_is_not_there(gate: Running, accept: str) -> None:
    root = (await gate.post_form([("a/b.txt", b"1"), ("c", b"")])).cid
    kind = HTML if "html" in accept else TEXT
    cases = [
        (f"/ipfs/{root}/a/nothing", 404, f"/ipfs/{root}/a/nothing", "no link named"),
        (f"/ipfs/{root}/a/b.txt/deeper", 404, f"/ipfs/{root}/a/b.txt/deeper", "no link named"),
        (f"/ipfs/{MISSING}", 404, f"/ipfs/{MISSING}", MISSING),
        ("/ipfs/QmInvalidCID", 400, None, 'invalid path "/ipfs/QmInvalidCID"'),
        ("/ipfs/", 400, None, "invalid path"),
        ("/ipns/example.org", 404, "/ipns/example.org", "leads nowhere"),
        ("/nowhere", 404, None, "nothing is at this path"),
    ]
    for target, status, path, words in cases:
        answer = await gate.get(target, Accept=accept)
        assert (answer.status, answer.headers["Content-Type"]) == (status, kind), target
        assert words in answer.text.replace("&#34;", '"'), target
        assert answer.headers.get("X-Ipfs-Path") == path
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
        assert answer.headers["Server"] == "cidgate"
        head = await gate.ask("HEAD", target, {"Accept": accept})
        assert (head.status, head.headers["Content-Length"]) == (status, answer.headers["Content-Length"])
        if kind == TEXT:
            assert answer.text.count("\n") == 1


async def test_a_missing_name_may_be_remembered_for_a_while(gate: Running) -> None:
    root = (await gate.post_form([("a", b"1"), ("c", b"")])).cid
    assert (await gate.get(f"/ipfs/{root}/x")).headers["Cache-Control"] == "public, max-age=60"
    assert (await gate.get(f"/ipfs/{MISSING}")).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("target", ["/ipfs/bafkqaaa", "/ipfs/", "/ipns/example.org"])
async def test_preflight(gate: Running, target: str) -> None:
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "PUT"}
    answer = await gate.ask("OPTIONS", target, asked)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Range" in answer.headers["Access-Control-Allow-Headers"]
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
    assert "GET, HEAD, OPTIONS" in answer.headers["Allow"]


async def test_every_kind_has_a_head_that_equals_its_get(gate: Running) -> None:
    root = (
        await gate.post_form([("dir/index.html", b"<p>hi"), ("list/a", b"1"), ("big", bytes(3_000_000))])
    ).cid
    targets = [
        "",
        "/",
        "/dir",
        "/dir/",
        "/dir/index.html",
        "/list/",
        "/list/a",
        "/big",
        "/big?format=raw",
        "/none",
    ]
    for target in targets:
        got = await gate.get(f"/ipfs/{root}{target}")
        head = await gate.ask("HEAD", f"/ipfs/{root}{target}")
        assert head.comparable()[:2] == got.comparable()[:2], target
        assert head.body == b""
        assert got.headers["Content-Length"] == str(len(got.body))


async def test_an_absolute_target(gate: Running) -> None:
    root = (await gate.post_form([("d/a", b"one"), ("c", b"")])).cid
    for target, status, words in [
        (f"http://127.0.0.1:99/ipfs/{root}/d/a?x=1", b"200", b"one"),
        (f"http://127.0.0.1/ipfs/{root}/d?q=1", b"301", f"Location: /ipfs/{root}/d/?q=1".encode()),
    ]:
        request = f"GET {target} HTTP/1.1\r\nHost: gate.example\r\nConnection: close\r\n\r\n"
        answer = await gate.raw(request.encode())
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert words in answer


async def test_a_request_that_is_none(gate: Running) -> None:
    answer = await gate.raw(b"GET / HTTP/1.1\r\nBad Header\x00: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 400")
    assert b"Server: cidgate" in answer


async def test_the_other_pages(gate: Running) -> None:
    assert (await gate.get("/healthz")).json == {"status": "ok"}
    assert (await gate.get("/readyz")).json == {"status": "ok", "dependencies": {}}
    assert (await gate.get("/version")).json["name"] == "cidgate"
    assert "curl" in (await gate.get("/")).text
    assert "<html" in (await gate.get("/", Accept="text/html")).text
    await gate.put("x", b"hello\n")
    metrics = (await gate.get("/metrics")).text
    assert 'ipfs_http_gw_responses_total{code="201"} 1.0' in metrics
    assert "cidgate_received_bytes_total 6.0" in metrics


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("gate.example:81", "gate.example:81"),
        ("[::1]:8080", "[::1]:8080"),
    ],
)
@pytest.mark.parametrize("accept", ["*/*", "text/html"])
async def test_the_welcome_names_the_host_that_was_asked(
    gate: Running, host: str, shown: str, accept: str
) -> None:
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    answer = await gate.raw(request.encode("latin-1"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert f"http://{shown}/ipfs/".encode() in answer
