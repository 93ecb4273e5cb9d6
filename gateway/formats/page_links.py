"""Where the links of the gateway's own pages lead, on each kind of host."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import escape

from gateway.formats.pages import segment, visible
from gateway.hosts import Kind
from gateway.request import ContentRequest


@dataclass(frozen=True, slots=True)
class Links:
    """The beginnings of links to the root, to what lies between it and the page, to entries and to blocks;
    made by the functions below. `blocks` of None are looked at elsewhere."""

    namespace: str
    root: str
    root_href: str
    crumbs: str
    entries: str
    blocks: str | None

    def to_block(self, cid: str, query: str = "") -> str:
        """The attributes of a link to what has this CID; `query` is escaped already."""
        if self.blocks is None:
            return f'href="https://cid.ipfs.tech/#{cid}" target="_blank" rel="noreferrer noopener"'
        return f'href="{escape(self.blocks)}{cid}{query}"'


@dataclass(frozen=True, slots=True)
class Crumb:
    """A step from the root to the page."""

    name: str
    href: str


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


def links_for(wanted: ContentRequest) -> Links:
    """Those of a page that answers this request."""
    origin, path = wanted.origin, wanted.path
    if not origin.root:
        return path_links(path.namespace, path.root)
    if origin.kind is Kind.SUBDOMAIN:
        return subdomain_links(path.namespace, path.root, origin.host)
    return dnslink_links(origin.host)


def crumbs_of(links: Links, path: Iterable[str]) -> list[Crumb]:
    """From the root through the names that lead to the page."""
    crumbs = [Crumb(visible(links.root), links.root_href)]
    href = links.crumbs
    for name in path:
        href = f"{href}/{segment(name)}"
        crumbs.append(Crumb(visible(name), href))
    return crumbs
