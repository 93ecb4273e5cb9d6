"""DNS servers: those of this machine, one by its address, or one behind HTTPS (RFC 8484)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import aiohttp
import dns.asyncquery
import dns.asyncresolver
import dns.exception
import dns.message
import dns.nameserver
import dns.query
import dns.resolver
from aiohttp import hdrs

RESOLV_CONF = Path("/etc/resolv.conf")
DNS_MESSAGE = "application/dns-message"
# A message may have 64 KiB, and reading that many records would hold up every other request: whoever owns a
# domain decides what its records are. A DNSLink has a few hundred bytes.
MAX_ANSWER_BYTES = 8 * 1024

# Sends a message; gives the answer, and for how many seconds it lay in an HTTP cache.
Exchange: TypeAlias = Callable[[bytes], Awaitable[tuple[bytes, int]]]


class AnswerTooLong(dns.exception.FormError):
    """An answer of more than 8 KiB."""


class DnsServer(dns.nameserver.Do53Nameserver):
    """A server asked over UDP, and over TCP where its answer does not fit."""

    async def async_query(  # noqa: PLR0913, PLR0917 - dnspython's
        self,
        request: dns.message.QueryMessage,
        timeout: float,
        source: str | None,
        source_port: int,
        max_size: bool,
        backend: object,
        one_rr_per_rrset: bool = False,
        ignore_trailing: bool = False,
    ) -> dns.message.Message:
        if max_size:
            return await _ask(request, timeout, self._over_tcp)
        return await dns.asyncquery.udp(
            request,
            self.address,
            timeout,
            self.port,
            raise_on_truncation=True,
            # What is not the answer (forged, late, broken) is passed over: the answer may still come.
            ignore_unexpected=True,
            ignore_errors=True,
        )

    async def _over_tcp(self, question: bytes) -> tuple[bytes, int]:
        reader, writer = await asyncio.open_connection(self.address, self.port)
        try:
            writer.write(len(question).to_bytes(2, "big") + question)
            length = int.from_bytes(await reader.readexactly(2), "big")
            _check_length(length)
            return await reader.readexactly(length), 0
        finally:
            writer.close()


class HttpsServer(dns.nameserver.Nameserver):
    """DNS over HTTPS through the one session of the process."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    def __str__(self) -> str:
        return self._url

    def kind(self) -> str:
        return "DoH"

    def is_always_max_size(self) -> bool:
        return True

    def answer_nameserver(self) -> str:
        return self._url

    def answer_port(self) -> int:
        return 0

    async def async_query(  # noqa: PLR0913, PLR0917 - dnspython's
        self,
        request: dns.message.QueryMessage,
        timeout: float,
        source: str | None,
        source_port: int,
        max_size: bool,
        backend: object,
        one_rr_per_rrset: bool = False,
        ignore_trailing: bool = False,
    ) -> dns.message.Message:
        return await _ask(request, timeout, self._post)

    async def _post(self, question: bytes) -> tuple[bytes, int]:
        headers = {hdrs.CONTENT_TYPE: DNS_MESSAGE, hdrs.ACCEPT: DNS_MESSAGE}
        try:
            async with self._session.post(
                self._url, data=question, headers=headers, allow_redirects=False
            ) as response:
                if response.status != 200 or response.content_type != DNS_MESSAGE:
                    raise ConnectionError(f"HTTP {response.status} with {response.content_type}")
                body = await response.content.read(MAX_ANSWER_BYTES + 1)
                while not response.content.at_eof() and len(body) <= MAX_ANSWER_BYTES:
                    body += await response.content.read(MAX_ANSWER_BYTES + 1 - len(body))
                _check_length(len(body))
                age = response.headers.get(hdrs.AGE, "")
                return body, int(age) if age.isascii() and age.isdigit() else 0
        except aiohttp.ClientError as error:
            raise ConnectionError(str(error)) from error


class SystemServers:
    """The servers that resolv.conf names, read again when it has changed: laptops and containers move."""

    def __init__(self, path: Path = RESOLV_CONF) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._servers: Sequence[dns.nameserver.Nameserver] = ()

    def __call__(self) -> Sequence[dns.nameserver.Nameserver]:
        """Raises dns.resolver.NoResolverConfiguration where there are none."""
        try:
            found = os.stat(self._path)
            seen = (found.st_mtime_ns, found.st_ino)
        except OSError:
            seen = None
        if seen is None or seen != self._seen:
            self._servers = [DnsServer(address) for address in _configured(self._path)]
            self._seen = seen
        return self._servers


def _configured(path: Path) -> list[str]:
    try:
        return [str(server) for server in dns.asyncresolver.Resolver(os.fspath(path)).nameservers]
    except ValueError as error:
        # A server that is no address, or a file that is no text.
        raise dns.resolver.NoResolverConfiguration from error


async def _ask(
    request: dns.message.QueryMessage, timeout: float, exchange: Exchange
) -> dns.message.QueryMessage:
    try:
        async with asyncio.timeout(timeout):
            answer, age = await exchange(request.to_wire())
    except TimeoutError as error:
        raise dns.exception.Timeout from error
    response = dns.message.from_wire(answer)
    if not isinstance(response, dns.message.QueryMessage) or not request.is_response(response):
        raise dns.query.BadResponse
    for records in (*response.answer, *response.authority):
        # RFC 8484, section 5.1.
        records.ttl = max(0, records.ttl - age)
    return response


def _check_length(length: int) -> None:
    if length > MAX_ANSWER_BYTES:
        raise AnswerTooLong
