"""Whatever is asked: never a 500, never a hang, and every part of a file is the part that was asked for."""

from __future__ import annotations

import asyncio
import re

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.ranges import MalformedRange, UnsatisfiableRange, parse_range
from tests.gateway.gateways import Running, running

BODY = bytes(range(256)) * 4000
WORDS = [
    "/",
    "//",
    "..",
    ".",
    "%2F",
    "%2e%2e",
    "%00",
    "%FF",
    "%",
    "%zz",
    "?",
    "&",
    "#",
    "=",
    ";",
    "ą",
    "\x7f",
    "\t",
    "ipfs",
    "ipns",
    "bafkqaaa",
    "QmInvalidCID",
    "QmYzfKSE55XCjD1MW128RfciAf2DViABhEiXfgVFMabSjN",
    "index.html",
    "format=raw",
    "format=car",
    "format=x",
    "download=true",
    "filename=",
    "cursor=1",
    "cursor=-1",
    "go-get=1",
    "http://a.example/",
    "*",
    "{root}",
    "{file}",
    "/ipfs/{root}/",
    "/ipfs/{file}",
    "profile=x",
]
targets = st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=4)), max_size=8).map("".join)
numbers = st.one_of(
    st.just(""), st.integers(0, len(BODY) + 9).map(str), st.sampled_from(["x", "9" * 30, "-1", "１"])
)
range_headers = (
    st.lists(st.builds("{}-{}".format, numbers, numbers), max_size=4).map(",".join).map("bytes={}".format)
)
texts = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30)
headers = st.dictionaries(
    st.sampled_from(
        [
            "Accept",
            "If-None-Match",
            "If-Modified-Since",
            "If-Range",
            "If-Match",
            "Authorization",
            "X-API-Key",
            "Expect",
            "Content-Type",
            "Content-Disposition",
            "Content-Encoding",
            "X-Request-Id",
            "Host",
            "Cache-Control",
            "Range",
        ]
    ),
    st.one_of(
        texts,
        range_headers,
        st.sampled_from(["text/html", "*", '"x"', "bytes=0-1", "Sun, 06 Nov 1994 08:49:37 GMT"]),
    ),
    max_size=4,
)
methods = st.sampled_from(["GET", "GET", "GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE"])


async def exchange(gate: Running, request: bytes) -> bytes:
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
        try:
            writer.write(request)
            return await reader.read()
        finally:
            writer.close()


def request_of(method: str, target: str, fields: dict[str, str], keyed: bool, gate: Running) -> bytes:
    raw = re.sub(rb"[\s]", b"+", target.encode("utf-8", "replace")) or b"/"
    lines = [method.encode() + b" " + raw + b" HTTP/1.1"]
    lines += [f"{name}: {value}".encode("latin-1", "replace") for name, value in fields.items()]
    if "Host" not in fields:
        lines.append(b"Host: x")
    if keyed:
        lines.append(b"X-API-Key: " + gate.key.encode())
    return b"\r\n".join([*lines, b"Connection: close", b"Content-Length: 3", b"", b"abc"])


def test_nothing_that_is_asked_is_an_internal_error() -> None:
    loop = asyncio.new_event_loop()
    context = running()
    gate = loop.run_until_complete(context.__aenter__())

    async def prepare() -> tuple[str, str]:
        file = await gate.put("file", BODY)
        return (await gate.post_form([("dir/a.txt", b"x"), ("b", BODY[:9])])).cid, file

    root, file = loop.run_until_complete(prepare())

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(methods, targets, headers, st.booleans())
    def ask(method: str, target: str, fields: dict[str, str], keyed: bool) -> None:
        target = target.replace("{root}", root).replace("{file}", file)
        answer = loop.run_until_complete(exchange(gate, request_of(method, target, fields, keyed, gate)))
        assert re.match(rb"HTTP/1\.[01] (?!500)\d\d\d ", answer), answer[:300]

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(range_headers)
    def ask_ranges(header: str) -> None:
        got = loop.run_until_complete(gate.get(f"/ipfs/{file}", Range=header))
        try:
            spans = parse_range(header, len(BODY))
        except MalformedRange:
            assert got.status == 400
        except UnsatisfiableRange:
            assert got.status == 416
        else:
            assert got.status == (200 if spans is None else 206)
            assert all(BODY[span.start : span.stop] in got.body for span in spans or [])
            assert got.headers["Content-Length"] == str(len(got.body))

    try:
        ask()
        ask_ranges()
    finally:
        loop.run_until_complete(context.__aexit__(None, None, None))
        loop.close()
