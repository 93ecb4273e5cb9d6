"""Requests that a path gateway answers before it follows any path (path gateway spec)."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from aiohttp import web

from gateway.hosts import NAMESPACES
from gateway.redirects import as_sent, moved
from gateway.refusals import BadRequest
from gateway.representation import Representation
from gateway.request import parse_parameters, target_of
from gateway.subdomains import RootedPath
from ipld.errors import InvalidName, InvalidPath
from ipld.ipns_name import IpnsName
from ipld.paths import ContentPath


def redirected(raw_path: str, query: str) -> Representation | None:
    """The redirect that the path or `?uri=` asks for, if any. Raises BadRequest for a URI of another kind."""
    if raw_path.strip("/") in NAMESPACES:
        uri = parse_parameters(query).get("uri")
        return None if not uri else moved(path_of_uri(uri))
    rooted = RootedPath.split(raw_path)
    if rooted is None:
        return None
    tail = f"?{query}" if query else ""
    if rooted.root in NAMESPACES:
        return _superfluous(rooted, tail)
    if rooted.namespace == "ipns":
        return _canonical_key(rooted, tail)
    return None


def path_of_uri(uri: str) -> str:
    """The path of an `ipfs://` or `ipns://` URI (subdomain gateway spec, "URI router"). Raises BadRequest."""
    try:
        parts = urlsplit(uri)
        if parts.scheme not in NAMESPACES:
            raise ValueError(f"{parts.scheme or 'no'} scheme")
        # The host is taken as it is: CIDv0 and base58 keys are told apart by their case.
        path = as_sent(f"/{parts.scheme}/{(parts.netloc + parts.path).lstrip('/')}")
        ContentPath.parse(path)
    except (ValueError, InvalidPath) as error:
        raise BadRequest(f"uri is an ipfs:// or ipns:// URI with a CID or name: {error}") from error
    return path + (f"?{parts.query}" if parts.query else "")


def refuse_wide_service_worker(request: web.Request) -> None:
    """A service worker at `/ipfs/<cid>` would rule over `/ipfs/`, which is everybody's. Raises BadRequest
    (path gateway spec, `Service-Worker`)."""
    if request.headers.get("Service-Worker") != "script":
        return
    rooted = RootedPath.split(target_of(request)[0])
    if rooted is not None and not rooted.rest:
        raise BadRequest("navigator.serviceWorker: registration is not allowed for this scope")


def _superfluous(rooted: RootedPath, tail: str) -> Representation | None:
    """`/ipfs/ipfs/<cid>`: some tool put the namespace before a path that had one."""
    intended = f"/{rooted.root}/{rooted.rest.lstrip('/')}"
    try:
        ContentPath.parse(intended)
    except InvalidPath:
        return None
    return moved(intended + tail)


def _canonical_key(rooted: RootedPath, tail: str) -> Representation | None:
    """An IPNS key in any form has one address: base36 (path gateway spec, "IPNS names")."""
    text = unquote(rooted.root)
    try:
        key = str(IpnsName.parse(text))
    except InvalidName:
        return None
    if key == text:
        return None
    # Not for good: the older forms are still taken everywhere.
    return moved(f"/ipns/{key}{rooted.rest}{tail}", status=302)
