"""DNSLink: the content path in the TXT records of a domain name (dnslink.dev)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from ipld.cid import Cid
from ipld.errors import InvalidCid, InvalidPath, NameNotFound
from ipld.names import ResolvedName
from ipld.paths import ContentPath
from naming.dns import TxtResolver
from naming.domains import PREFIX, domain_name, is_public

_KEY = b"dnslink="


@dataclass(frozen=True, slots=True)
class DnsLinkNames:
    """A NameResolver of domain names.

    Names in `overrides` (in the form of `domain_name`) lead where those say, without a lookup; like
    Kubo's IPFS_NS_MAP they state no TTL.
    """

    txt: TxtResolver
    overrides: Mapping[str, ContentPath] = field(default_factory=dict)

    async def resolve(self, name: str) -> ResolvedName:
        """Raises NameNotFound where the name has no DNSLink, and StoreUnavailable where nobody knows."""
        domain = _domain(name)
        if domain in self.overrides:
            return ResolvedName(self.overrides[domain], None)
        if not is_public(domain):
            raise NameNotFound(f"/ipns/{domain} is neither an IPNS name nor a domain name with a DNSLink")
        answer = await self.txt.lookup(PREFIX + domain)
        path = first_link(answer.texts)
        if path is None:
            raise NameNotFound(_missing(domain, answer.texts))
        return ResolvedName(path, answer.ttl)


def first_link(texts: Iterable[bytes]) -> ContentPath | None:
    """The link among the TXT records of a name. Of several, the first by the alphabet: DNS keeps no order
    (DNSLink spec, "Sorting"). What is no link of ours is passed over."""
    links = (_link(text) for text in sorted(texts))
    return next((link for link in links if link is not None), None)


def parse_overrides(given: Mapping[str, str]) -> dict[str, ContentPath]:
    """IPFS_NS_MAP with its names and paths read. Raises InvalidPath."""
    try:
        return {domain_name(name): _path(path) for name, path in given.items()}
    except ValueError as error:
        raise InvalidPath(f"IPFS_NS_MAP: {error}") from error


def _link(text: bytes) -> ContentPath | None:
    if not text.startswith(_KEY):
        return None
    try:
        return _path(text.removeprefix(_KEY).decode())
    except (InvalidPath, UnicodeDecodeError):
        return None


def _path(text: str) -> ContentPath:
    if not text.startswith("/"):
        # An old form, which Kubo reads too: the CID alone.
        try:
            return ContentPath("ipfs", str(Cid.parse(text)))
        except InvalidCid as error:
            raise InvalidPath(f"not a content path: {error}") from error
    # A record has names as they are, and not as a URL has them: `%20` is three characters.
    return ContentPath.parse(quote(text, safe="/"))


def _domain(name: str) -> str:
    try:
        return domain_name(name)
    except ValueError as error:
        shown = name if len(name) <= 255 else name[:255] + "…"
        raise NameNotFound(f"/ipns/{shown} is neither an IPNS name nor a domain name: {error}") from error


def _missing(domain: str, texts: tuple[bytes, ...]) -> str:
    if texts:
        return f"no TXT record of {PREFIX}{domain} is dnslink=/ipfs/<cid> or dnslink=/ipns/<name>"
    return f"{domain} has no DNSLink: {PREFIX}{domain} has no TXT record"
