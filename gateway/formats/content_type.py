"""The Content-Type of a file: by its name, else by its first bytes."""

from __future__ import annotations

import codecs
import json
import re

import puremagic

from gateway.formats.media_types import type_of_name

# What is looked at; browsers take 1445 (WHATWG MIME Sniffing section 5.2).
HEAD_BYTES = 4096

BINARY = "application/octet-stream"
PLAIN = "text/plain; charset=utf-8"

# WHATWG MIME Sniffing section 6, and what gateways see most; puremagic takes up to a millisecond.
# Asked only of bytes that are no text, since some of them are plain letters.
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBPVP", "image/webp"),
    (0, b"\xff\x0a", "image/jxl"),
    (0, b"\x00\x00\x00\x0cJXL \r\n", "image/jxl"),
    (0, b"\x00\x00\x01\x00", "image/x-icon"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"8BPS", "image/vnd.adobe.photoshop"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"OggS\x00", "audio/ogg"),
    (0, b"fLaC", "audio/flac"),
    (8, b"WAVE", "audio/wav"),
    (8, b"AVI ", "video/x-msvideo"),
    (0, b"FLV\x01", "video/x-flv"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"MThd", "audio/midi"),
    (8, b"AIFF", "audio/aiff"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"%!PS-Adobe-", "application/postscript"),
    (0, b"\x00asm", "application/wasm"),
    (0, b"PAR1", "application/vnd.apache.parquet"),
    (0, b"PMTiles", "application/vnd.pmtiles"),
    (0, b"SQLite format 3\x00", "application/x-sqlite3"),
    (0, b"glTF", "model/gltf-binary"),
    (0, b"\x89HDF\r\n\x1a\n", "application/x-hdf5"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
    (0, b"OTTO", "font/otf"),
    (0, b"\x00\x01\x00\x00\x00", "font/ttf"),
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (257, b"ustar", "application/x-tar"),
    (30, b"mimetypeapplication/epub+zip", "application/epub+zip"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
)
_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"mif1": "image/heif",
    b"qt  ": "video/quicktime",
}
_M4A = (b"M4A ", b"M4B ")

# Possessive and atomic throughout: content is the attacker's, and must not choose how long a match takes.
_COMMENTS = rb"(?:(?><!--.*?-->)\s*+)*+"
_HTML = re.compile(
    rb"\s*+"
    + _COMMENTS
    + rb"<(?:!doctype html|html|head|body|script|iframe|h1|div|font|table|a|style|title|b|br|p)[\s>]",
    re.IGNORECASE | re.DOTALL,
)
_SVG = re.compile(
    rb"\s*+(?:<\?xml[^>]*+>\s*+)?" + _COMMENTS + rb"(?:<!doctype svg[^>]*+>\s*+)?<svg[\s>]",
    re.IGNORECASE | re.DOTALL,
)
# WHATWG MIME Sniffing section 3: bytes that no text has.
_BINARY_BYTES = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_BOMS = {codecs.BOM_UTF16_LE: "utf-16le", codecs.BOM_UTF16_BE: "utf-16be"}

# Below this puremagic goes by two bytes or a guess; these types would hand content to a program or a browser.
_MIN_CONFIDENCE = 0.4
_NEVER_GUESSED = ("text/", "application/x-ms", "application/javascript", "application/vnd.openxmlformats")


def content_type(name: str | None, head: bytes) -> str:
    """The type by the extension of the name, else by the first bytes of the content."""
    known = type_of_name(name) if name else None
    return known or sniff(head)


def sniff(head: bytes) -> str:
    """The type of content without a telling name; `head` are its first bytes, of which HEAD_BYTES count."""
    head = bytes(head[:HEAD_BYTES])
    if not head:
        return PLAIN
    if head[:2] in _BOMS:
        return f"text/plain; charset={_BOMS[head[:2]]}"
    if _is_text(head):
        return _sniff_text(head.removeprefix(codecs.BOM_UTF8))
    return _sniff_binary(head)


def _is_text(head: bytes) -> bool:
    if _BINARY_BYTES.search(head):
        return False
    try:
        # The last character may be cut in two.
        codecs.getincrementaldecoder("utf-8")().decode(head, final=len(head) < HEAD_BYTES)
    except UnicodeDecodeError:
        return False
    return True


def _sniff_text(head: bytes) -> str:
    if head.startswith(b"%PDF-"):
        return "application/pdf"
    if _SVG.match(head):
        return "image/svg+xml; charset=utf-8"
    if _HTML.match(head):
        # No charset: the page names its own.
        return "text/html"
    start = head.lstrip()
    if start.startswith(b"<?xml"):
        return "application/xml"
    if start[:1] in (b"{", b"[") and _is_json(head):
        return "application/json"
    return PLAIN


def _is_json(head: bytes) -> bool:
    """Whether it parses, or, where it was cut, whether it starts as nothing but JSON does."""
    if len(head) < HEAD_BYTES:
        try:
            json.loads(head)
        except (ValueError, RecursionError):
            return False
        return True
    return _JSON_START.match(head) is not None


_JSON_START = re.compile(
    rb'\s*+(?:\{\s*+"(?:[^"\\]|\\.)*+"\s*+:|\[\s*+(?:[\[{"]|-?\d++(?:\.\d++)?\s*+,|true\b|false\b|null\b))',
    re.DOTALL,
)


def _sniff_binary(head: bytes) -> str:
    for offset, signature, kind in _SIGNATURES:
        if head.startswith(signature, offset):
            return kind
    if head[4:8] == b"ftyp":
        return "audio/mp4" if head[8:12] in _M4A else _BRANDS.get(head[8:12], "video/mp4")
    if head[0] == 0x47 and head[188:189] in (b"\x47", b""):
        return "video/mp2t"
    return _guess(head)


def _guess(head: bytes) -> str:
    """What puremagic takes it for, where it is sure enough and the type can do no harm."""
    try:
        matches = puremagic.magic_string(head)
    except (LookupError, ValueError):
        return BINARY
    for match in matches:
        mime = str(match.mime_type)
        if match.confidence >= _MIN_CONFIDENCE and "/" in mime and not mime.startswith(_NEVER_GUESSED):
            return mime
    return BINARY
