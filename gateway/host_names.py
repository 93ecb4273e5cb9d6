"""Host names as clients send them: checked, and brought into one form."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from gateway.refusals import BadRequest

# Names of DNS end at 253; a CID that is too long for DNS still gets an answer that says so.
MAX_HOST_LENGTH = 512

_NAME = re.compile(r"([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\.?(?::(\d{1,5})?)?", re.ASCII)
_IPV6 = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\](?::(\d{1,5})?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class HostName:
    """`name` is as it was sent, without the port and the dot that may end a full name; `port` is empty
    or begins with a colon."""

    name: str
    port: str
    is_address: bool

    @classmethod
    def parse(cls, text: str) -> HostName:
        """What a Host header names (RFC 9110 section 7.2). Raises BadRequest."""
        match = _NAME.fullmatch(text) or _IPV6.fullmatch(text) if len(text) <= MAX_HOST_LENGTH else None
        if match is None or int(match[2] or 0) > 65535:
            raise BadRequest("the Host header is not a host name")
        bracketed = text.startswith("[")
        address = _is_address(match[1])
        if bracketed and not address:
            raise BadRequest("the Host header is not a host name")
        name = f"[{match[1]}]" if bracketed else match[1]
        return cls(name, f":{match[2]}" if match[2] else "", address)

    @property
    def lower(self) -> str:
        """Case says nothing in a host name (RFC 4343)."""
        return self.name.lower()


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
