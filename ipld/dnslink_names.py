"""DNSLink names as a single DNS label, for `<label>.ipns.<gateway>` (subdomain gateway spec, `Host`)."""

from __future__ import annotations

import re

# RFC 1035, section 2.3.4.
MAX_LABEL = 63

_RUN = re.compile("--|-")


def inline_dnslink(fqdn: str) -> str:
    """`en.wikipedia-on-ipfs.org` as `en-wikipedia--on--ipfs-org`; without its one trailing dot.

    ValueError where the label would be longer than DNS allows.
    """
    label = fqdn.removesuffix(".").replace("-", "--").replace(".", "-")
    if len(label) > MAX_LABEL:
        raise ValueError(f"{fqdn} as one DNS label has {len(label)} characters, and DNS allows {MAX_LABEL}")
    return label


def uninline_dnslink(label: str) -> str:
    """The name that a label stands for; a text that is no such label gives a text that is no name."""
    # From the left, as Kubo: `---` is a hyphen and then a dot.
    return _RUN.sub(lambda run: "-" if run[0] == "--" else ".", label)
