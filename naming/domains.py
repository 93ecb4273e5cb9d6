"""Domain names that may have a DNSLink, in the one form in which they are looked up."""

from __future__ import annotations

import re

import dns.exception
import dns.name

PREFIX = "_dnslink."
# RFC 1035, section 2.3.4: 253 characters as text, of which the prefix takes its part.
MAX_DOMAIN = 253 - len(PREFIX)

# Hyphens at the ends of a label are in no host name (RFC 1123, section 2.1), and do not survive inlining.
_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
# What URLs take for IPv4, as the last label of a host (WHATWG URL, "ends in a number").
_NUMBER = re.compile("[0-9]+|0x[0-9a-f]*", re.ASCII)
# RFC 6761 and RFC 7686: never in the DNS, and a question would tell others who asks for what.
_NEVER = frozenset({"localhost", "invalid", "onion"})


def domain_name(text: str) -> str:
    """The name in lower case, as A-labels (RFC 5890), without its one trailing dot.

    ValueError says why a text is none. It may have a single label.
    """
    if len(text) > MAX_DOMAIN + 1:
        raise ValueError(f"a domain name with a DNSLink has at most {MAX_DOMAIN} characters")
    name = (text if text.isascii() else _a_labels(text)).lower().removesuffix(".")
    if len(name) > MAX_DOMAIN or not _DOMAIN.fullmatch(name):
        raise ValueError("not a domain name")
    return name


def is_public(name: str) -> bool:
    """Whether the DNS may know a name in the form of `domain_name`: no address, no single label, no
    domain that is by definition not there."""
    _, dot, last = name.rpartition(".")
    return bool(dot) and last not in _NEVER and not _NUMBER.fullmatch(last)


def _a_labels(text: str) -> str:
    try:
        # As browsers read what people type: mapped by UTS 46, then IDNA 2008.
        name = dns.name.from_unicode(text, None, dns.name.IDNA_2008_Practical)
    except (dns.exception.DNSException, ValueError) as error:
        raise ValueError("not a domain name") from error
    return name.to_text()
