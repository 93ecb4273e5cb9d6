"""How sizes, durations, lists and JSON are written in an environment variable."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE | re.ASCII)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?", re.IGNORECASE | re.ASCII)
_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_HIGHEST_SIZE = 1 << 62
_HOST_PATTERN = re.compile(r"any|[a-z0-9_*-]+(\.[a-z0-9_*-]+)+", re.ASCII)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_size(text: str) -> int:
    """`64MiB` is 64 * 1024 * 1024 bytes, `5GB` is 5 * 1000**3, a bare number is bytes."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or (match[3] and not match[2]):
        raise ValueError("must be a size such as 64MiB, 5GB or a number of bytes")
    # exact where a float would hold 53 bits
    size = int(Decimal(match[1]) * (1024 if match[3] else 1000) ** _POWERS[match[2].lower()])
    if size > _HIGHEST_SIZE:
        raise ValueError("must be a size of at most 4EiB")
    return size


def parse_duration(text: str) -> float:
    """Seconds: `250ms`, `30s`, `5m`, `6h`, `1d`, or a bare number of seconds."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError("must be a duration such as 250ms, 30s, 5m, 6h or a number of seconds")
    return float(match[1]) * _SECONDS[(match[2] or "s").lower()]


def seconds_of_day(text: str) -> float:
    """Seconds after midnight: `02:00`."""
    match = _TIME_OF_DAY.fullmatch(text.strip())
    if match is None:
        raise ValueError("must be a time of day such as 02:00")
    return int(match[1]) * 3600.0 + int(match[2]) * 60.0


def check_time_of_day(text: str) -> str:
    seconds_of_day(text)
    return text


def parse_urls(text: str) -> tuple[str, ...]:
    """http(s) URLs between commas; without a slash at the end."""
    urls = [part.strip().rstrip("/") for part in text.split(",") if part.strip()]
    return tuple(check_url("http", "https")(url) for url in urls)


def parse_networks(text: str) -> tuple[Network, ...]:
    """Addresses and networks between commas; an address alone is a network of one."""
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ValueError(f"must be addresses or networks such as 10.0.0.0/8; {error}") from None


def parse_host_patterns(text: str) -> tuple[str, ...]:
    """Host names between commas, in lower case; `*` stands for one label or a part of it."""
    hosts = tuple(part.strip().lower().removesuffix(".") for part in text.split(",") if part.strip())
    bad = [host for host in hosts if not _HOST_PATTERN.fullmatch(host)]
    if bad:
        raise ValueError(f"must be host names, or `any`, which {bad[0]!r} is not")
    return hosts


def check_url(*schemes: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not _is_url(text, schemes):
            allowed = " or ".join(f"{scheme}://" for scheme in schemes)
            raise ValueError(f"must be a URL that begins with {allowed}")
        return text

    return check


def check_bucket_name(text: str) -> str:
    """As S3 knows it, the old forms too."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,255}", text):
        raise ValueError("must be the name of a bucket: letters, digits, dots and dashes")
    return text


def _is_url(text: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(text)
        # `.port` raises on a port that is none
        return parts.scheme in schemes and parts.port != 0 and bool(parts.netloc or parts.path)
    except ValueError:
        return False


def _from_text(parse: Callable[[str], object]) -> BeforeValidator:
    """Defaults are given as they would be in the environment, and go through the same parser."""

    def validate(value: object) -> object:
        return parse(value) if isinstance(value, str) else value

    return BeforeValidator(validate)


Size = Annotated[int, _from_text(parse_size)]
Duration = Annotated[float, _from_text(parse_duration)]
Urls = Annotated[tuple[str, ...], _from_text(parse_urls)]
Networks = Annotated[tuple[Network, ...], _from_text(parse_networks)]
HostPatterns = Annotated[tuple[str, ...], _from_text(parse_host_patterns)]
BucketName = Annotated[str, _from_text(check_bucket_name)]
HttpUrl = Annotated[str, _from_text(check_url("http", "https"))]
