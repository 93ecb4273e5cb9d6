"""TXT records of a DNS name, from whichever DNS servers answer for its domain."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver

from ipld.errors import NameTimeout, NameUnavailable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TxtAnswer:
    """The texts of every TXT record of a name, in no order, and for how many seconds they hold.

    The strings of one record are joined, as RFC 7208, section 3.3, says. No texts: the name has none.
    """

    texts: tuple[bytes, ...]
    ttl: int


class TxtResolver(Protocol):
    async def lookup(self, name: str) -> TxtAnswer:
        """The TXT records of a name in ASCII, CNAMEs followed. Raises StoreUnavailable."""
        ...


class NoDns:
    """A TxtResolver that asks nobody."""

    async def lookup(self, name: str) -> TxtAnswer:
        return TxtAnswer((), 0)


class DnsLookups:
    """TXT records from the servers that `servers` names at each lookup, asked one after another.

    What is lost on the way is asked for again until `timeout` seconds are over.
    """

    def __init__(self, servers: Callable[[], Sequence[dns.nameserver.Nameserver]], timeout: float) -> None:
        self._servers = servers
        self._timeout = timeout

    async def lookup(self, name: str) -> TxtAnswer:
        try:
            return await self._lookup(dns.name.from_text(name))
        except dns.exception.Timeout as error:
            raise NameTimeout(f"no DNS server answered for {name} in time") from error
        except dns.resolver.NoResolverConfiguration as error:
            raise NameUnavailable(f"{name} cannot be looked up: this machine names no DNS server") from error
        except dns.exception.DNSException as error:
            # SERVFAIL, REFUSED, no connection, an answer that is none. The error names our servers: it is for
            # the log, and not for the client.
            logger.info("DNS: %s", error)
            raise NameUnavailable(f"no DNS server gave a usable answer for {name}") from error

    async def _lookup(self, name: dns.name.Name) -> TxtAnswer:
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = list(self._servers())
        resolver.lifetime = self._timeout
        # Half, so that a second server, or a second try, has its turn.
        resolver.timeout = self._timeout / 2
        try:
            answer = await resolver.resolve(name, dns.rdatatype.TXT, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN:
            return TxtAnswer((), 0)
        texts = tuple(b"".join(record.strings) for record in answer)
        return TxtAnswer(texts, answer.chaining_result.minimum_ttl if texts else 0)
