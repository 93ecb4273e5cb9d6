"""The HTML page of a directory that has no index.html of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from markupsafe import Markup, escape

from gateway.formats.media_types import type_of_name
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
class Links:
    """Where a listing's links lead; one form per kind of gateway, made by the functions below."""

    namespace: str
    root: str
    root_href: str
    crumbs: str
    entries: str
    blocks: str | None


def path_links(namespace: str, root: str) -> Links:
    """For `/ipfs/<cid>/…` and `/ipns/<name>/…` on one host."""
    base = f"/{namespace}/{segment(root)}"
    return Links(namespace, root, base, base, base, "/ipfs/")


def subdomain_links(namespace: str, root: str, host: str) -> Links:
    """For `<root>.<namespace>.<host>`; what leaves the origin goes through the parent host."""
    base = f"//{host}/{namespace}/{segment(root)}"
    return Links(namespace, root, base, base, "", f"//{host}/ipfs/")


def dnslink_links(hostname: str) -> Links:
    """For a site under its own name, where there may be no `/ipfs/` to link to."""
    return Links("ipns", hostname, f"//{hostname}/", f"//{hostname}", "", None)


@dataclass(frozen=True, slots=True)
class DirectoryPage:
    """What there is to show: the entries of this page, `count` and `size` of the whole directory if known.

    `path` are the names between the root and the directory; `next_cursor` leads to the next page.
    """

    links: Links
    cid: str
    path: Sequence[str]
    entries: Sequence[Listed]
    count: int | None = None
    size: int | None = None
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class _Crumb:
    name: str
    href: str


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
        crumbs=_crumbs(links, page.path),
        up=f"{here}/.." if page.path else None,
        rows=_rows(links, here, page.entries),
        entries=None if count is None else f"{count:,} {'entry' if count == 1 else 'entries'}",
        size=None if page.size is None else human_size(page.size),
        next=None if page.next_cursor is None else f"?cursor={quote(page.next_cursor, safe='')}",
    )


def _crumbs(links: Links, path: Iterable[str]) -> list[_Crumb]:
    crumbs = [_Crumb(links.root, links.root_href)]
    href = links.crumbs
    for name in path:
        href = f"{href}/{segment(name)}"
        crumbs.append(_Crumb(visible(name), href))
    return crumbs


def _rows(links: Links, here: str, entries: Iterable[Listed]) -> Markup:
    # Not in the template: a thousand rows are the page, and this is several times as fast.
    base = str(escape(here))
    blocks = None if links.blocks is None else str(escape(links.blocks))
    return Markup("\n".join([_row(base, blocks, entry) for entry in entries]))  # noqa: S704 - each row is escaped


def _row(base: str, blocks: str | None, entry: Listed) -> str:
    name = segment(entry.name)
    short = f"{entry.cid[:8]}…{entry.cid[-6:]}" if len(entry.cid) > 16 else entry.cid
    size = "—" if entry.size is None else human_size(entry.size)
    if blocks is None:
        block = f'https://cid.ipfs.tech/#{entry.cid}" target="_blank" rel="noreferrer noopener'
    else:
        # Escaped twice, as every gateway does and the conformance suite checks.
        block = f"{blocks}{entry.cid}?filename={name.replace('%', '%25')}"
    return (
        f'<tr><td class="{_icon(entry)}"><a href="{base}/{name}">{escape(visible(entry.name))}</a></td>'
        f'<td><a class="ipfs-hash" translate="no" href="{block}">{short}</a></td>'
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
