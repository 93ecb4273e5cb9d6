"""The page that shows people what is in a dag-json or dag-cbor block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from markupsafe import Markup, escape

from gateway.formats.content_headers import content_headers
from gateway.formats.page_links import Links, crumbs_of, links_for
from gateway.formats.pages import ASSET_HASH, PAGE_HEADERS, human_size, template, visible
from gateway.redirects import moved
from gateway.representation import Representation
from gateway.request import ContentRequest
from ipld import codecs
from ipld.blocks import BlockReader
from ipld.cid import Cid, codec_name
from ipld.data_model import Value
from ipld.paths import Found

# A page shows this much; whoever wants more takes the block itself.
MAX_ROWS = 1000
MAX_TEXT = 500
MAX_BYTES = 64


async def represent_preview(blocks: BlockReader, wanted: ContentRequest, found: Found) -> Representation:
    """With a trailing slash, as all pages that the gateway makes. Raises MalformedBlock."""
    headers = content_headers(wanted, found)
    # The same address gives other clients the block: neither answer may be kept for them.
    headers.pop("Cache-Control", None)
    headers["Vary"] = "Accept"
    if not wanted.path.trailing_slash:
        query = f"?{wanted.query}" if wanted.query else ""
        return moved(f"{wanted.raw_path}/{query}", headers=headers)
    cid = found.cid
    block = await blocks.get(cid)
    value = await codecs.decode_aside(cid.codec, block)
    return Representation(
        content_type="text/html; charset=utf-8",
        etag=preview_etag(cid),
        headers=headers | dict(PAGE_HEADERS),
        body=render_preview(wanted, cid, len(block), value).encode("utf-8", "replace"),
        accept_ranges=False,
    )


def preview_etag(cid: Cid) -> str:
    return f'"DagIndex-{ASSET_HASH}_CID-{cid}"'


def render_preview(wanted: ContentRequest, cid: Cid, size: int, value: Value) -> str:
    """The page as HTML."""
    links = links_for(wanted)
    return _TEMPLATE.render(
        title=visible(str(wanted.path)),
        namespace=links.namespace,
        crumbs=crumbs_of(links, wanted.path.segments),
        cid=str(cid),
        codec=codec_name(cid.codec),
        code=f"0x{cid.codec:x}",
        size=human_size(size),
        tree=_tree(value, links),
        max_rows=MAX_ROWS,
    )


def _tree(value: Value, links: Links) -> Markup:
    """Nested lists; every text that comes out of the block is escaped here."""
    lines = list(islice(_lines(value, links), MAX_ROWS + 1))
    if len(lines) > MAX_ROWS:
        lines = [*lines[:MAX_ROWS], (lines[-1][0], "<li>…")]
    html: list[str] = []
    depth = 0
    for level, line in [*lines, (0, "")]:
        html.append("<ul>" * (level - depth) + "</ul>" * (depth - level) + line)
        depth = level
    return Markup("\n".join(html))  # noqa: S704 - each line is escaped


def _lines(value: Value, links: Links) -> Iterator[tuple[int, str]]:
    """Each value with how deep it lies, parents first."""
    yield 1, f"<li>{_shown(value, links)}"
    waiting = [_children(value)]
    while waiting:
        entry = next(waiting[-1], None)
        if entry is None:
            waiting.pop()
            continue
        name, child = entry
        yield len(waiting) + 1, f"<li><strong>{escape(_cut(name))}</strong>: {_shown(child, links)}"
        waiting.append(_children(child))


def _children(value: Value) -> Iterator[tuple[str, Value]]:
    entries: Iterable[tuple[str, Value]] = ()
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, list):
        entries = ((str(index), child) for index, child in enumerate(value))
    return iter(entries)


def _shown(value: Value, links: Links) -> str:
    if isinstance(value, Cid):
        # A CID has letters and digits only.
        return f'<a class="cid" translate="no" {links.to_block(str(value))}>{value}</a>'
    if isinstance(value, str):
        return f"“{escape(_cut(value))}”"
    if isinstance(value, bytes):
        more = "…" if len(value) > MAX_BYTES else ""
        return f"<code>{value[:MAX_BYTES].hex()}{more}</code> ({len(value)} bytes)"
    if isinstance(value, list | dict):
        kind = "map" if isinstance(value, dict) else "list"
        return f"{kind} of {len(value)}"
    return f"<code>{_scalar(value)}</code>"


def _scalar(value: float | None) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return _cut(str(value))


def _cut(text: str) -> str:
    return visible(text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…")


_TEMPLATE = template("dag.html")
