"""Hosts that give out only what a client can check by itself: blocks, CARs and IPNS records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.negotiation import Format
from gateway.refusals import BadRequest, NotAcceptable
from gateway.request import ContentRequest


@dataclass(frozen=True, slots=True)
class Trustless:
    """`hosts` overrides the rule that holds elsewhere; names in lower case, with or without a port."""

    elsewhere: bool = False
    hosts: Mapping[str, bool] = field(default_factory=dict)

    @property
    def anywhere(self) -> bool:
        """Whether there is any such host."""
        return self.elsewhere or any(self.hosts.values())

    def applies(self, host: str | None) -> bool:
        """Whether the host in a `Host` header is one."""
        name = (host or "").lower()
        if name in self.hosts:
            return self.hosts[name]
        return self.hosts.get(name.rpartition(":")[0] or name, self.elsewhere)


def require_verifiable(wanted: ContentRequest) -> None:
    """Trustless gateway spec: BadRequest (400) without any format, NotAcceptable (406) for all that a
    client would have to believe."""
    if wanted.format is Format.CAR:
        return
    if wanted.format is Format.RAW:
        if wanted.path.segments:
            raise NotAcceptable("this host gives out single blocks by their CID only, without a path")
        return
    if wanted.wanted.nothing_asked:
        raise BadRequest(
            "this host needs a format: ask for application/vnd.ipld.raw or application/vnd.ipld.car"
        )
    raise NotAcceptable("this host gives out verifiable formats only: format=raw or format=car")
