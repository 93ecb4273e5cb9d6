"""Names of both kinds: IPNS keys, and domain names with a DNSLink."""

from __future__ import annotations

from dataclasses import dataclass

from ipld.errors import InvalidName, NameNotFound
from ipld.ipns_name import IpnsName
from ipld.names import NameResolver, ResolvedName
from naming.domains import domain_name

_SHOWN = 255


def canonical_name(text: str) -> str:
    """The one form of a name: base36 of an IPNS key, else a domain name in lower case.

    NameNotFound for a text that is neither.
    """
    return str(_parse(text))


def is_key(name: str) -> bool:
    """Whether a name, in its one form, is an IPNS key."""
    return isinstance(_parse(name), IpnsName)


@dataclass(frozen=True, slots=True)
class Names:
    """A NameResolver over one of each kind. A text that is an IPNS name is never looked up in the DNS."""

    ipns: NameResolver
    dnslink: NameResolver

    async def resolve(self, name: str) -> ResolvedName:
        parsed = _parse(name)
        return await (self.ipns if isinstance(parsed, IpnsName) else self.dnslink).resolve(str(parsed))


class NoNames:
    """A NameResolver that knows no name."""

    async def resolve(self, name: str) -> ResolvedName:
        raise NameNotFound(f"nothing is known here about /ipns/{name}")


def _parse(text: str) -> IpnsName | str:
    # No encoding of keys has a dot.
    if "." not in text:
        try:
            return IpnsName.parse(text)
        except InvalidName:
            pass
    try:
        return domain_name(text)
    except ValueError:
        shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
        raise NameNotFound(
            f"/ipns/{shown} is neither an IPNS name (such as k51qzi5uqu5d…) nor a domain name (such as "
            "docs.ipfs.tech)"
        ) from None
