"""DNS servers by domain, in the shape of Kubo's DNS.Resolvers."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator

_DOMAIN = re.compile(r"\.|[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.ASCII | re.IGNORECASE)
_SERVER = (
    "must be https://… (DNS over HTTPS), udp://<address>[:port], an IP address, or empty for this machine's"
)


def parse_resolvers(text: str) -> dict[str, str]:
    """`{"eth.": "https://dns.example/dns-query", ".": "192.0.2.1"}`, its domains without their dots at
    the end and in lower case, its servers empty, https:// or udp:// URLs."""
    try:
        parsed: object = json.loads(text)
    except ValueError as error:
        raise ValueError(f"must be a JSON object; {error}") from None
    if not isinstance(parsed, dict):
        raise ValueError("must be a JSON object of domains and their DNS servers")  # noqa: TRY004 - for pydantic
    return dict(_pair(domain, server) for domain, server in parsed.items())


def _pair(domain: str, server: object) -> tuple[str, str]:
    if not _DOMAIN.fullmatch(domain):
        raise ValueError(f"must have domains such as `eth.` or `.` as its keys, which {domain!r} is not")
    try:
        return domain.lower().rstrip("."), _server(server)
    except ValueError:
        raise ValueError(f"{_SERVER}, which {server!r} is not") from None


def _server(server: object) -> str:
    if not isinstance(server, str):
        raise ValueError(_SERVER)  # noqa: TRY004 - for pydantic
    if not server or server.startswith(("https://", "http://", "udp://")):
        return _checked(server)
    address = ipaddress.ip_address(server.strip("[]"))
    return f"udp://[{address}]" if address.version == 6 else f"udp://{address}"


def _checked(server: str) -> str:
    parts = urlsplit(server)
    if server and (not parts.hostname or parts.port == 0):
        raise ValueError(_SERVER)
    if parts.scheme == "udp":
        ipaddress.ip_address(parts.hostname or "")
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        raise ValueError(_SERVER)
    return server


def _is_loopback(host: str) -> bool:
    # As Kubo: in the clear only where nobody can listen.
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _from_text(value: object) -> object:
    return parse_resolvers(value) if isinstance(value, str) else value


DnsResolvers = Annotated[Mapping[str, str], BeforeValidator(_from_text)]
