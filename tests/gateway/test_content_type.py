"""Content types: by name from our own table, else by what the bytes say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats.content_type import content_type, sniff

PLAIN, BINARY = "text/plain; charset=utf-8", "application/octet-stream"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # What players, maps, archives and data tools insist on.
        ("seg.ts", "video/mp2t"),
        ("live.m3u8", "application/vnd.apple.mpegurl"),
        ("seg.m4s", "video/iso.segment"),
        ("live.mpd", "application/dash+xml"),
        ("a.mkv", "video/x-matroska"),
        ("a.webp", "image/webp"),
        ("a.avif", "image/avif"),
        ("a.woff2", "font/woff2"),
        ("a.wasm", "application/wasm"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("INDEX.HTML", "text/html; charset=utf-8"),
        ("a.webmanifest", "application/manifest+json; charset=utf-8"),
        ("a.md", "text/markdown; charset=utf-8"),
        ("a.yaml", "application/yaml; charset=utf-8"),
        ("a.parquet", "application/vnd.apache.parquet"),
        ("a.pmtiles", "application/vnd.pmtiles"),
        ("a.geojson", "application/geo+json"),
        ("a.glb", "model/gltf-binary"),
        ("a.epub", "application/epub+zip"),
        ("a.flac", "audio/flac"),
        ("a.wacz", "application/wacz"),
        ("a.warc", "application/warc"),
        ("a.warc.gz", "application/gzip"),
        ("a.car", "application/vnd.ipld.car"),
        ("a.deb", "application/vnd.debian.binary-package"),
        ("a.whl", "application/zip"),
        ("a.svg", "image/svg+xml; charset=utf-8"),
        ("a.json", "application/json"),
    ],
)
def test_by_name(name: str, expected: str) -> None:
    assert content_type(name, b"") == expected


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"", PLAIN),
        (b"hello\n", PLAIN),
        ("zażółć".encode(), PLAIN),
        ("ł".encode() * 2047 + b"a" + "ł".encode(), PLAIN),
        (b"\xff\xfeh\x00", "text/plain; charset=utf-16le"),
        (b"latin \xe9\xe8", BINARY),
        (b"\x00\x01\x02", BINARY),
        # NFT metadata has no extension, and must never be a page.
        (b'{"name":"#1","image":"ipfs://x"}', "application/json"),
        (b' [1, 2, {"a": "<html>"}]', "application/json"),
        (b'{"name": "' + b"x" * 5000 + b'"}', "application/json"),
        (b'{"a":"<script>"}', "application/json"),
        (b"{not json}", PLAIN),
        (b"[link](x)", PLAIN),
        (b"[" * 100, PLAIN),
        (b"<!DOCTYPE html><html>", "text/html"),
        (b"\xef\xbb\xbf<!-- hi --> \n<html lang=en>", "text/html"),
        (b"a <html> in text", PLAIN),
        (b'<?xml version="1.0"?><rss>', "application/xml"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x">', "image/svg+xml; charset=utf-8"),
        (b"<svg width='1'>", "image/svg+xml; charset=utf-8"),
        (b"%PDF-1.7\n%\xe2", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n\x00", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a\x01\x00", "image/gif"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 \x00", "image/webp"),
        (b"RIFF\x10\x00\x00\x00WAVEfmt \x00", "audio/wav"),
        (b"\x00\x00\x00\x20ftypisom\x00", "video/mp4"),
        (b"\x00\x00\x00\x20ftypavif\x00", "image/avif"),
        (b"\x00\x00\x00\x20ftypM4A \x00", "audio/mp4"),
        (b"\x1aE\xdf\xa3\x01", "video/webm"),
        (b"OggS\x00\x02", "audio/ogg"),
        (b"ID3\x04\x00", "audio/mpeg"),
        (b"PK\x03\x04\x14\x00", "application/zip"),
        (b"\x1f\x8b\x08\x00", "application/gzip"),
        (b"\x00asm\x01\x00", "application/wasm"),
        (b"G" + b"\x00" * 187 + b"G\x00", "video/mp2t"),
        # Words that happen to be signatures.
        (b"BM is a company", PLAIN),
        (b"MZ hello", PLAIN),
        (b"ID3 tags explained", PLAIN),
    ],
)
def test_by_content(head: bytes, expected: str) -> None:
    assert content_type("no-extension", head) == expected
    assert sniff(head) == expected


@pytest.mark.parametrize("name", [None, "", "x", ".html", "x.unknown", "x.", "html"])
def test_names_that_say_nothing(name: str | None) -> None:
    assert content_type(name, b"text") == PLAIN


@given(st.binary(max_size=6000))
def test_any_bytes_have_a_type_fit_for_a_header(head: bytes) -> None:
    kind = sniff(head)
    assert "/" in kind
    assert kind.isascii()
    assert kind.isprintable()
