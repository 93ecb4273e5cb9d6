"""DNSLINK_RESOLVERS: Kubo's map of domains to DNS servers."""

from __future__ import annotations

import json

import pytest

from config.errors import SettingsError
from config.resolvers import parse_resolvers
from config.settings import Settings


def test_kubo_s_own_example() -> None:
    text = '{"eth.": "https://dns.eth.limo/dns-query", "Crypto.": "https://x.test/", ".": ""}'
    assert parse_resolvers(text) == {
        "eth": "https://dns.eth.limo/dns-query",
        "crypto": "https://x.test/",
        "": "",
    }


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ("192.0.2.1", "udp://192.0.2.1"),
        ("2001:db8::1", "udp://[2001:db8::1]"),
        ("[::1]", "udp://[::1]"),
        ("udp://127.0.0.1:5353", "udp://127.0.0.1:5353"),
        ("udp://[::1]:5353", "udp://[::1]:5353"),
        ("http://127.0.0.1:8053/dns-query", "http://127.0.0.1:8053/dns-query"),
        ("http://[::1]/dns-query", "http://[::1]/dns-query"),
        ("http://localhost/dns-query", "http://localhost/dns-query"),
    ],
)
def test_servers(server: str, url: str) -> None:
    assert parse_resolvers(json.dumps({".": server})) == {"": url}


@pytest.mark.parametrize(
    "wrong",
    [
        "x",
        "[]",
        '{"": "192.0.2.1"}',
        '{"a b.": "192.0.2.1"}',
        '{"..": "192.0.2.1"}',
        '{".": 1}',
        '{".": null}',
        '{".": "dns.example"}',
        '{".": "udp://dns.example"}',
        '{".": "udp://192.0.2.1:99999"}',
        '{".": "http://dns.example/dns-query"}',
        '{".": "http://192.0.2.1/dns-query"}',
        '{".": "https://"}',
        '{".": "https://[::1"}',
        '{".": "tls://192.0.2.1"}',
        '{".": "192.0.2"}',
    ],
)
def test_what_is_wrong_is_said(wrong: str) -> None:
    with pytest.raises(SettingsError, match="DNSLINK_RESOLVERS"):
        Settings.from_env({"DNSLINK_RESOLVERS": wrong})


def test_nothing_is_the_dns_of_this_machine() -> None:
    assert Settings.from_env({}).dnslink_resolvers == {}
