"""What a trusted proxy says about the request that it took: the host, the scheme and the client."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from aiohttp import hdrs, web
from multidict import istr

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

X_FORWARDED_FOR = istr("X-Forwarded-For")
X_FORWARDED_HOST = istr("X-Forwarded-Host")
X_FORWARDED_PROTO = istr("X-Forwarded-Proto")

# Addresses of peers are few behind a proxy, and many without one.
MAX_REMEMBERED = 1024
# In a row before this gateway; a header of 16 KiB has room for thousands of made-up ones.
MAX_PROXIES = 16


class Proxies:
    """The networks whose `X-Forwarded-*` headers are believed; without any, nobody's are."""

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._networks = tuple(networks)
        self._known: dict[str, bool] = {}

    def host(self, request: web.BaseRequest) -> str | None:
        """The host that the client asked for; None where it named none."""
        # RFC 9112 section 3.2.2: an absolute-form target takes the place of the Host header.
        if not request.raw_path.startswith("/"):
            return _authority(request.raw_path)
        if self._networks and X_FORWARDED_HOST in request.headers and self.trusts(request):
            forwarded = _nearest(request, X_FORWARDED_HOST)
            if forwarded:
                return forwarded
        return request.headers.get(hdrs.HOST)

    def scheme(self, request: web.BaseRequest) -> str:
        """`https` where a trusted proxy, or an absolute-form target, says so."""
        if request.raw_path[:8].lower() == "https://":
            return "https"
        if self._networks and X_FORWARDED_PROTO in request.headers and self.trusts(request):
            return "https" if _nearest(request, X_FORWARDED_PROTO).lower() == "https" else "http"
        return "http"

    def client(self, request: web.BaseRequest) -> str:
        """The address of whoever asked; empty where there is none, as on a Unix socket.

        Each proxy adds the address that asked it at the end of `X-Forwarded-For`: the last one that no
        trusted proxy has is the client's, and whatever stands before it anybody may have written.
        """
        client = _address(request.remote or "") or ""
        if not self.trusts(request):
            return client
        values = ",".join(request.headers.getall(X_FORWARDED_FOR, []))
        for value in reversed(values.split(",")[-MAX_PROXIES:]):
            address = _address(value.strip())
            if address is None:
                break
            client = address
            if not self._contains(address):
                break
        return client

    def trusts(self, request: web.BaseRequest) -> bool:
        """Whether the request comes from one of the networks."""
        address = request.remote or ""
        known = self._known.get(address)
        if known is None:
            known = self._contains(address)
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[address] = known
        return known

    def _contains(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None)
        return any((mapped or parsed) in network for network in self._networks)


def _address(text: str) -> str | None:
    """Without a port; an IPv4 address that is written as an IPv6 one becomes itself again."""
    bracketed, _, _ = text.removeprefix("[").partition("]")
    host = bracketed if text.startswith("[") else text.partition(":")[0] if text.count(":") == 1 else text
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return None
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def _nearest(request: web.BaseRequest, name: str) -> str:
    # The last one was added by the proxy that is trusted, to the line or as one more of them; those before it
    # by whoever asked that one.
    return request.headers.getall(name)[-1].rpartition(",")[2].strip()


def _authority(target: str) -> str:
    return target.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2]
