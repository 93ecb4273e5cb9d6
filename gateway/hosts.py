"""What a host name stands for: the gateway itself, one content root, or a website of its own.

Pure: whether a website has a DNSLink is asked elsewhere (`gateway.by_host`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from gateway.host_names import HostName
from gateway.subdomains import canonical_label, root_of_label

NAMESPACES = ("ipfs", "ipns")
# Host names are chosen by clients: what was worked out for them is kept for so many.
MAX_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class HostRules:
    """What a listed host serves; the fields of Kubo's Gateway.PublicGateways."""

    paths: tuple[str, ...] = ("/ipfs", "/ipns")
    subdomains: bool = False
    dnslink: bool = True
    inline_dnslink: bool = False
    deserialized: bool = True

    def serves(self, path: str) -> bool:
        """Whether a path is one of those, or lies below."""
        return any(path == prefix or path.startswith(prefix + "/") for prefix in self.prefixes)

    @property
    def prefixes(self) -> list[str]:
        """The paths in one form."""
        return [prefix.rstrip("/") for prefix in self.paths]


# As Kubo: browsers resolve every name under localhost to this machine.
LOCALHOST: Mapping[str, HostRules] = {"localhost": HostRules(subdomains=True)}


class Kind(Enum):
    """PATH: everything the gateway does. LISTED: that, within the rules of its host. SUBDOMAIN: one
    content root. SITE: the website that a DNSLink names, or PATH where there is none. UNKNOWN: nothing."""

    PATH = 0
    LISTED = 1
    SUBDOMAIN = 2
    SITE = 3
    UNKNOWN = 4


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came to.

    `host` is what links lead to, with its port: of a subdomain, that of its gateway. Subdomains and sites
    have a content root, `/{namespace}/{root}`; a subdomain whose label is not `label` is to be redirected.
    `key` keeps the answers of different origins apart; None where none are kept. Of a listed host it is that
    of content paths, and `website_key` that of its website.
    """

    kind: Kind
    host: str = ""
    rules: HostRules = HostRules()
    namespace: str = ""
    root: str = ""
    label: str = ""
    moved: bool = False
    key: str | None = ""
    website_key: str | None = None

    @property
    def prefix(self) -> str:
        """The content path that the path of a request is appended to."""
        return f"/{self.namespace}/{self.root}" if self.root else ""

    @property
    def site(self) -> str:
        """The host name of the website; empty where this is a gateway as a whole."""
        if self.kind is Kind.SUBDOMAIN:
            return f"{self.label}.{self.namespace}.{self.host}"
        return self.host if self.root else ""

    def as_website(self) -> Origin:
        """The same host, where it has a content root of its own."""
        return self if self.website_key is None else replace(self, key=self.website_key)

    def without_root(self) -> Origin:
        """The same host as a path gateway."""
        if not self.root:
            return self
        key = _key(self.rules) if self.kind is Kind.SITE else self.key
        return replace(self, kind=Kind.PATH, namespace="", root="", key=key)


class Hosts:
    """The hosts of a gateway. `rules` of None are those of a host that is not listed after all;
    `sites` are patterns of names that may have a DNSLink; `deserialized` is for hosts without rules."""

    def __init__(
        self,
        rules: Mapping[str, HostRules | None] = LOCALHOST,
        *,
        sites: Iterable[str] = (),
        any_site: bool = False,
        strict: bool = False,
        deserialized: bool = True,
    ) -> None:
        self._exact = {host.lower(): _usable(host, found) for host, found in rules.items() if "*" not in host}
        self._patterns = [(_pattern(host), found) for host, found in rules.items() if "*" in host]
        self._sites = [_pattern(site) for site in sites]
        self._any_site = any_site
        self._elsewhere = HostRules(deserialized=deserialized)
        self._unlisted = Kind.UNKNOWN if strict else Kind.PATH
        self._known: dict[str, Origin] = {}

    @property
    def strict(self) -> bool:
        """Whether a host that nothing names gets 404."""
        return self._unlisted is Kind.UNKNOWN

    def of(self, host: str | None) -> Origin:
        """Raises BadRequest for what is no host name, and for a root that fits into no DNS label."""
        text = host or ""
        known = self._known.get(text)
        if known is None:
            known = self._find(text)
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[text] = known
        return known

    def known(self, host: str | None) -> Origin | None:
        """The origin of a host that was asked for before."""
        return None if host is None else self._known.get(host)

    def _find(self, text: str) -> Origin:
        if not text:
            return self._plain(self._unlisted, "", self._elsewhere)
        name = HostName.parse(text)
        host = name.lower + name.port
        rules = self._rules(name.lower, name.port)
        if rules is not None:
            return _listed(name, host, rules)
        return self._subdomain(name) or self._unlisted_origin(name, host)

    def _rules(self, name: str, port: str) -> HostRules | None:
        for host in (name + port, name):
            if host in self._exact:
                return self._exact[host]
        for host in (name + port, name):
            for pattern, rules in self._patterns:
                if pattern.fullmatch(host):
                    return rules
        return None

    def _subdomain(self, name: HostName) -> Origin | None:
        labels = name.name.split(".")
        for at in range(len(labels) - 1, 1, -1):
            namespace = labels[at - 1].lower()
            if namespace not in NAMESPACES or name.is_address:
                continue
            parent = ".".join(labels[at:]).lower()
            rules = self._rules(parent, name.port)
            if rules is not None:
                return _root(namespace, ".".join(labels[: at - 1]), parent + name.port, rules)
        return None

    def _unlisted_origin(self, name: HostName, host: str) -> Origin:
        known = any(pattern.fullmatch(name.lower) for pattern in self._sites)
        if not name.is_address and "." in name.name and (known or self._any_site):
            return Origin(Kind.SITE, host, self._elsewhere, "ipns", name.lower, key=f"{host}\n")
        return self._plain(self._unlisted, host, self._elsewhere)

    def _plain(self, kind: Kind, host: str, rules: HostRules) -> Origin:
        return Origin(kind, host, rules, key=_key(rules) if kind is Kind.PATH else None)


def _usable(host: str, rules: HostRules | None) -> HostRules | None:
    # An address has no subdomains; Kubo leaves the setting out of account too.
    return replace(rules, subdomains=False) if rules and HostName.parse(host).is_address else rules


def _listed(name: HostName, host: str, rules: HostRules) -> Origin:
    root = name.lower if rules.dnslink and not name.is_address and "." in name.name else ""
    key = None if rules.subdomains else _key(rules)
    return Origin(Kind.LISTED, host, rules, "ipns", root, key=key, website_key=f"{host}\n" if root else None)


def _key(rules: HostRules) -> str:
    """What is kept for one host goes for all that serve the same paths in the same way."""
    # No target has a line break: what is kept under one key is never found under another.
    everything = all(rules.serves(f"/{namespace}") for namespace in NAMESPACES)
    paths = "" if everything else ",".join(sorted(rules.prefixes)) + "\n"
    return paths if rules.deserialized else f"verifiable\n{paths}"


def _root(namespace: str, given: str, host: str, rules: HostRules) -> Origin:
    if not rules.subdomains or not rules.serves(f"/{namespace}"):
        return Origin(Kind.UNKNOWN, f"{given.lower()}.{namespace}.{host}", rules, key=None)
    # A label that stands for nothing is an error like any other path.
    label = canonical_label(namespace, given) or given.lower()
    root = root_of_label(namespace, label)
    moved = label != given.lower()
    key = None if moved else f"{label}.{namespace}.{host}\n"
    return Origin(Kind.SUBDOMAIN, host, rules, namespace, root, label, moved, key)


def _pattern(host: str) -> re.Pattern[str]:
    """`*` stands for one or more characters of one label, as in Kubo."""
    return re.compile("[^.]+".join(map(re.escape, host.lower().split("*"))))
