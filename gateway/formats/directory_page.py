"""The HTML page of a directory that has no index.html of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from markupsafe import Markup, escape

from gateway.formats.media_types import type_of_name
from gateway.formats.page_links import Links, crumbs_of
from gateway.formats.pages import ASSET_HASH, human_size, segment, template, visible

# An operator's page of a directory with millions of entries is as long as one with a thousand.
PAGE_ENTRIES = 1000


@dataclass(frozen=True, slots=True)
class Listed:
    """One row; `size` is None where it is not known without reading more."""

    name: str
    cid: str
    size: int | None
    is_directory: bool


@dataclass(frozen=True, slots=True)
class DirectoryPage:
    """What there is to show: the entries of this page, `count` and `size` of the whole directory if known.

    `path` are the names between the root and the directory; `following` is the query of the next page.
    """

    links: Links
    cid: str
    path: Sequence[str]
    entries: Sequence[Listed]
    count: int | None = None
    size: int | None = None
    following: str | None = None


def listing_etag(cid: str, cursor: str = "") -> str:
    """Strong, and new with every change of the page's looks; each page of a long directory has its own."""
    page = f"_at-{quote(cursor, safe='')}" if cursor else ""
    return f'"DirIndex-{ASSET_HASH}_CID-{cid}{page}"'


def render_directory(page: DirectoryPage) -> str:
    """The page as HTML."""
    links = page.links
    here = links.entries + "".join(f"/{segment(name)}" for name in page.path)
    count = page.count
    return _TEMPLATE.render(
        page=page,
        links=links,
        title=visible("/".join(("", links.namespace, links.root, *page.path))),
        crumbs=crumbs_of(links, page.path),
        up=f"{here}/.." if page.path else None,
        rows=_rows(links, here, page.entries),
        entries=None if count is None else f"{count:,} {'entry' if count == 1 else 'entries'}",
        size=None if page.size is None else human_size(page.size),
        next=None if page.following is None else f"?{page.following}",
    )


def _rows(links: Links, here: str, entries: Iterable[Listed]) -> Markup:
    # Not in the template: a thousand rows are the page, and this is several times as fast.
    base = str(escape(here))
    return Markup("\n".join([_row(base, links, entry) for entry in entries]))  # noqa: S704 - each row is escaped


def _row(base: str, links: Links, entry: Listed) -> str:
    name = segment(entry.name)
    short = f"{entry.cid[:8]}…{entry.cid[-6:]}" if len(entry.cid) > 16 else entry.cid
    size = "—" if entry.size is None else human_size(entry.size)
    # Escaped twice, as every gateway does and the conformance suite checks.
    block = links.to_block(entry.cid, f"?filename={name.replace('%', '%25')}")
    return (
        f'<tr><td class="{_icon(entry)}"><a href="{base}/{name}">{escape(visible(entry.name))}</a></td>'
        f'<td><a class="ipfs-hash" translate="no" {block}>{short}</a></td>'
        f"<td>{size}</td></tr>"
    )


_ICONS = frozenset({"image", "video", "audio", "text"})
_PACKAGES = frozenset({"zip", "gzip", "x-tar", "vnd.ipld.car", "zstd", "x-7z-compressed", "x-xz", "x-bzip2"})


def _icon(entry: Listed) -> str:
    if entry.is_directory:
        return "dir"
    kind, _, subtype = (type_of_name(entry.name) or "").partition(";")[0].partition("/")
    if kind in _ICONS:
        return kind
    if subtype in _PACKAGES:
        return "package"
    return "text" if subtype in {"json", "pdf", "xml", "yaml", "toml"} else "file"


_TEMPLATE = template("directory.html")
