"""The settings that are more than one value: public gateways and the DNSLink map, in Kubo's schema."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_HOST = re.compile(
    r"(?:[a-z0-9_*-]+(?:\.[a-z0-9_*-]+)*\.?|\[([0-9a-f:.]+)\])(?::(\d{1,5}))?", re.ASCII | re.IGNORECASE
)
_MAX_HOST_LENGTH = 253
_MAX_PORT = 65535


def _is_host(text: str) -> bool:
    """A name, also with `*` in it, or an IPv6 address in brackets; with or without a port."""
    match = _HOST.fullmatch(text)
    if match is None or len(text) > _MAX_HOST_LENGTH or int(match[2] or 0) > _MAX_PORT:
        return False
    try:
        return match[1] is None or ipaddress.ip_address(match[1]).version == 6
    except ValueError:
        return False


class PublicGateway(BaseModel):
    """What one host name serves; see Gateway.PublicGateways in Kubo's docs/config.md."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    paths: tuple[str, ...] = Field((), alias="Paths", strict=False)
    use_subdomains: bool = Field(False, alias="UseSubdomains")
    no_dns_link: bool = Field(False, alias="NoDNSLink")
    inline_dns_link: bool = Field(False, alias="InlineDNSLink")
    # None, as in Kubo: what DESERIALIZED_RESPONSES says.
    deserialized_responses: bool | None = Field(None, alias="DeserializedResponses")

    @model_validator(mode="after")
    def _serves_something(self) -> Self:
        bad = [path for path in self.paths if not path.startswith("/")]
        if bad:
            raise ValueError(f"a path begins with '/', which {bad[0]!r} does not")
        if self.use_subdomains and not self.paths:
            raise ValueError("UseSubdomains needs Paths, such as ['/ipfs', '/ipns']")
        return self


def _json_object(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        parsed: object = json.loads(value)
    except ValueError as error:
        raise ValueError(f"must be a JSON object; {error}") from None
    if not isinstance(parsed, dict):
        raise ValueError("must be a JSON object of host names")  # noqa: TRY004 - pydantic wants a ValueError
    bad = [host for host in parsed if not _is_host(host)]
    if bad:
        raise ValueError(f"must have host names as its keys, which {bad[0]!r} is not")
    return parsed


def _pairs(value: object) -> object:
    if not isinstance(value, str):
        return value
    return dict(_pair(part.strip()) for part in value.split(",") if part.strip())


def _pair(text: str) -> tuple[str, str]:
    host, _, path = text.partition(":")
    if not _is_host(host) or "*" in host or not path.startswith(("/ipfs/", "/ipns/")):
        raise ValueError("must be pairs such as example.org:/ipfs/bafy…, with commas between them")
    return host.lower().removesuffix("."), path


PublicGateways = Annotated[Mapping[str, PublicGateway | None], BeforeValidator(_json_object)]
NamespaceMap = Annotated[Mapping[str, str], BeforeValidator(_pairs)]
