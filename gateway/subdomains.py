"""Content roots as DNS labels, and the URLs of subdomains (subdomain gateway spec)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.refusals import BadRequest
from ipld.cid import Cid
from ipld.dnslink_names import MAX_LABEL, inline_dnslink, uninline_dnslink
from ipld.errors import InvalidCid, InvalidName
from ipld.ipns_name import IpnsName
from naming.domains import domain_name

# Repeated slashes mean one, as `ContentPath.parse` reads them: what it would serve is redirected.
_CONTENT_PATH = re.compile(r"/+(ipfs|ipns)/+([^/]+)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RootedPath:
    """A content path as it was sent: `root` is still percent-encoded, `rest` is empty or begins with `/`."""

    namespace: str
    root: str
    rest: str

    @classmethod
    def split(cls, raw_path: str) -> RootedPath | None:
        """None for what is no content path."""
        match = _CONTENT_PATH.fullmatch(raw_path)
        return None if match is None else cls(match[1], match[2], match[3])


def canonical_label(namespace: str, root: str) -> str | None:
    """The one DNS label, or domain name, that stands for a content root, so that it has one origin.

    CIDv1 in base32, in base36 where that is over 63 characters; IPNS keys in base36; domain names as DNS has
    them. None for what is none of these: in a URL it could be anything, even the end of the host name.
    BadRequest where no text fits.
    """
    if namespace == "ipfs":
        cid = _cid(root)
        return None if cid is None else _fitting(cid)
    key = _key(root)
    return _domain(root) if key is None else _checked(str(key))


def root_of_label(namespace: str, label: str) -> str:
    """The root that a label stands for: `en-wikipedia--on--ipfs-org` is a domain name."""
    if namespace == "ipfs" or "." in label or "-" not in label:
        return label
    return uninline_dnslink(label)


def tls_label(label: str) -> str:
    """A domain name as one label, which a wildcard certificate covers. BadRequest where it is too long.

    A name of one label (of IPFS_NS_MAP) too, where it has a hyphen: `root_of_label` takes each for a dot.
    """
    try:
        return inline_dnslink(label) if "." in label or "-" in label else label
    except ValueError as error:
        raise BadRequest(str(error)) from error


def subdomain_url(scheme: str, label: str, namespace: str, host: str, target: str) -> str:
    """The URL of a path and query, kept byte for byte, under `<label>.<namespace>.<host>`. `target` begins
    with `/`."""
    return f"{scheme}://{label}.{namespace}.{host}{target}"


def _cid(root: str) -> Cid | None:
    # Host names come in any case, base58 does not.
    for text in (root, root.lower()):
        try:
            return Cid.parse(text)
        except InvalidCid:
            continue
    return None


def _key(root: str) -> IpnsName | None:
    for text in (root, root.lower()):
        try:
            return IpnsName.parse(text)
        except InvalidName:
            continue
    return None


def _domain(root: str) -> str | None:
    try:
        return domain_name(root)
    except ValueError:
        return None


def _fitting(cid: Cid) -> str:
    text = cid.encode("base32")
    return text if len(text) <= MAX_LABEL else _checked(cid.encode("base36"))


def _checked(label: str) -> str:
    if len(label) > MAX_LABEL:
        raise BadRequest(f"CID incompatible with DNS label length limit of {MAX_LABEL}: {label}")
    return label
