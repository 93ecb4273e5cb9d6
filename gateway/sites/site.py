"""Requests for websites: on hosts with a content root of their own (subdomain and DNSLink gateway specs).

`site_fallback` answers for paths that are not there, `with_site_headers` adds to what is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gateway.formats import REPRESENT
from gateway.formats.content_headers import content_headers
from gateway.negotiation import Format
from gateway.redirects import moved
from gateway.refusals import Gone, LegallyUnavailable
from gateway.representation import Representation
from gateway.request import ContentRequest
from gateway.sites.added_headers import add_headers, is_of_gateway
from gateway.sites.files import SiteFiles
from gateway.sites.headers_file import HeadersFile
from gateway.sites.redirect_matching import Target, find_target
from ipld.blocks import BlockReader
from ipld.errors import NoLink
from ipld.names import NameResolver
from ipld.paths import ContentPath, Found, ResolveLimits, resolve

# Pages of a site have these; the rest are redirects and failures.
_STATUSES = frozenset((200, 404, 410, 451))
_MISSING: Mapping[int, type[Exception]] = {200: NoLink, 404: NoLink, 410: Gone, 451: LegallyUnavailable}


def is_of_site(wanted: ContentRequest) -> bool:
    """Whether the files of a site have a say: web-redirects-file spec, "Same-Origin Requirement"; and only
    where a browser gets the content itself, not blocks or archives of it."""
    return bool(wanted.origin.root) and wanted.format is Format.UNIXFS


async def site_fallback(
    sites: SiteFiles, names: NameResolver, blocks: BlockReader, wanted: ContentRequest, limits: ResolveLimits
) -> Representation | None:
    """What `_redirects` says about a path that the site does not have (NoLink); None where it says nothing.

    Raises BrokenSiteFile, and where the rule leads to a page that is not there either, NoLink, Gone or
    LegallyUnavailable, by the status of the rule.
    """
    if not is_of_site(wanted):
        return None
    top = replace(wanted.path, segments=(), trailing_slash=False)
    site = await resolve(names, blocks, top, limits)
    if site.remainder:
        return None
    target = find_target(await sites.redirects(blocks, site.cid), wanted.raw_path, wanted.query)
    if target is None:
        return None
    if target.is_redirect:
        return moved(target.to, target.status, content_headers(wanted, site))
    found = await _found(names, blocks, site, target, limits)
    shown = await _page(blocks, wanted, site, found, target.status)
    return _added(shown, wanted, await sites.headers(blocks, site.cid), instead=True)


async def _found(
    names: NameResolver, blocks: BlockReader, site: Found, target: Target, limits: ResolveLimits
) -> Found:
    """Where the path of a target leads; never out of the site: a dot is no name."""
    path = ContentPath.parse(site.path.encoded() + target.to)
    missing = f"line {target.line} of _redirects leads to {target.to}, which is not in this site"
    try:
        # The path begins with /ipfs/: a name is not asked again, since its answer could be another by now.
        found = await resolve(names, blocks, path, limits)
    except NoLink as error:
        raise _MISSING[target.status](missing) from error
    if found.remainder:
        raise _MISSING[target.status](missing)
    return replace(found, mutable=site.mutable, ttl=site.ttl)


async def _page(
    blocks: BlockReader, wanted: ContentRequest, site: Found, found: Found, status: int
) -> Representation:
    segments = found.path.segments[len(site.path.segments) :]
    # With a slash, so that a directory is shown and no redirect is made of a path that nobody asked for.
    inside = replace(wanted, path=replace(wanted.path, segments=segments, trailing_slash=True))
    shown = await REPRESENT[wanted.format](blocks, inside, found)
    headers = {**shown.headers, "X-Ipfs-Path": wanted.path.encoded()}
    return replace(shown, status=status, headers=headers)


async def with_site_headers(
    sites: SiteFiles, blocks: BlockReader, wanted: ContentRequest, found: Found, shown: Representation
) -> Representation:
    """A path that the site has, with the headers that its `_headers` gives it. Raises BrokenSiteFile."""
    if not is_of_site(wanted) or found.remainder:
        return shown
    # A name may lead to a directory below a CID: that directory is the root of the site.
    root = found.roots[len(found.roots) - 1 - len(wanted.path.segments)]
    return _added(shown, wanted, await sites.headers(blocks, root), instead=False)


def _added(
    shown: Representation, wanted: ContentRequest, file: HeadersFile | None, *, instead: bool
) -> Representation:
    """`instead` of a path that is not there: then what describes a file is left out."""
    if file is None or shown.status not in _STATUSES or is_of_gateway(shown):
        return shown
    given = file.headers_of(wanted.path.segments)
    return add_headers(shown, given, mutable=wanted.path.mutable, instead=instead) if given else shown
