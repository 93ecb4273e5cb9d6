"""A DNS server on loopback, over UDP and TCP, that answers as a test says and notes what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

# A wire message, several of them, or none: the server is silent then.
Answer = bytes | list[bytes] | None
Respond = Callable[[dns.message.Message, str], Answer]

# RFC 1035, section 4.2.1: what fits into UDP without EDNS.
UDP_BYTES = 512


@dataclass
class Zone:
    """TXT records, and names that fail. Strings of one record stand in a list."""

    records: dict[str, list[list[bytes]]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    rcodes: dict[str, dns.rcode.Rcode] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    ttl: int = 300
    is_silent: bool = False
    delay: float = 0.0
    # (transport, name) of every question but those that ask whether the server is there.
    asked: list[tuple[str, str]] = field(default_factory=list)
    # Where the last question over UDP came from.
    client: tuple[str, int] = ("", 0)

    def put(self, name: str, *texts: str) -> None:
        self.records[name] = [[text.encode()] for text in texts]

    def respond(self, query: dns.message.Message, transport: str) -> bytes | None:
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        if self.is_silent:
            return None
        if name != ".":
            self.asked.append((transport, name))
        if name in self.silent:
            return None
        response = dns.message.make_response(query, recursion_available=True)
        response.set_rcode(self.rcodes.get(name, dns.rcode.NOERROR))
        self._fill(response, name)
        wire: bytes = response.to_wire(max_size=65535)
        if transport == "udp" and len(wire) > UDP_BYTES:
            cut = dns.message.make_response(query)
            cut.flags |= dns.flags.TC
            return cut.to_wire()
        return wire

    def _fill(self, response: dns.message.Message, name: str) -> None:
        steps = 0
        while name in self.aliases and steps < 20:
            target = self.aliases[name]
            response.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", "CNAME", f"{target}."))
            name, steps = target, steps + 1
        if name in self.records:
            texts = [" ".join(f'"{s.decode("latin-1")}"' for s in record) for record in self.records[name]]
            response.answer.append(dns.rrset.from_text_list(f"{name}.", self.ttl, "IN", "TXT", texts))
        elif name != "." and response.rcode() == dns.rcode.NOERROR:
            response.set_rcode(dns.rcode.NXDOMAIN)


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, zone: Zone, respond: Respond) -> None:
        self.zone, self.respond = zone, respond

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.zone.client = addr
        answer = self.respond(dns.message.from_wire(data), "udp")
        for wire in [answer] if isinstance(answer, bytes) else answer or []:
            if self.zone.delay:
                loop = asyncio.get_running_loop()
                loop.call_later(self.zone.delay, self._send, wire, addr)
            else:
                self._send(wire, addr)

    def _send(self, wire: bytes, addr: tuple[str, int]) -> None:
        if not self.transport.is_closing():
            self.transport.sendto(wire, addr)


@asynccontextmanager
async def dns_server(zone: Zone, respond: Respond | None = None) -> AsyncIterator[str]:
    """The URL of the server, on one port that is free for both transports."""
    respond = respond or zone.respond

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            length = int.from_bytes(await reader.readexactly(2), "big")
            answer = respond(dns.message.from_wire(await reader.readexactly(length)), "tcp")
            if isinstance(answer, bytes):
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()
            else:
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    tcp = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = tcp.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(zone, respond), local_addr=("127.0.0.1", port))
    try:
        yield f"udp://127.0.0.1:{port}"
    finally:
        udp.close()
        tcp.close()
        await tcp.wait_closed()
