"""Domain names in the one form that is looked up, and texts that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naming.domains import MAX_DOMAIN, PREFIX, domain_name, is_public


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("example.org", "example.org"),
        ("EXAMPLE.Org", "example.org"),
        ("example.org.", "example.org"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        # UTS 46 maps the ideographic full stop, as browsers do.
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("_dnslink.example.org", "_dnslink.example.org"),
        ("localhost", "localhost"),
        ("a" * 63 + ".org", "a" * 63 + ".org"),
    ],
)
def test_one_form(text: str, name: str) -> None:
    assert domain_name(text) == name
    assert domain_name(name) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a..b",
        ".example.org",
        "example.org..",
        "a b.org",
        "a/b.org",
        "*.example.org",
        "a\\.b.org",
        "a\x00.org",
        "a\n.org",
        "-a.org",
        "a-.org",
        "a" * 64 + ".org",
        "ü" * 64 + ".org",
        "\ud800.org",
        "[::1]",
        "::1",
        "example.org:8080",
        "user@example.org",
        ".".join(["a" * 60] * 4 + ["b" * 10]),
        "ü" * 100_000,
    ],
)
def test_what_is_no_domain_name(text: str) -> None:
    with pytest.raises(ValueError, match="domain name"):
        domain_name(text)


def test_the_longest_name_still_has_room_for_its_prefix() -> None:
    longest = ".".join(["a" * 60] * 3 + ["b" * (MAX_DOMAIN - 183)])
    assert len(PREFIX + domain_name(longest)) == 253
    assert domain_name(longest + ".") == longest
    with pytest.raises(ValueError, match="domain name"):
        domain_name(longest + "b")


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("example.org", True),
        ("vitalik.eth", True),
        ("1.2.3.org", True),
        ("example", False),
        ("127.0.0.1", False),
        ("127.1", False),
        ("1.0x7f", False),
        ("localhost", False),
        ("app.localhost", False),
        ("a.invalid", False),
        ("expyuzz4wqqyqhjn.onion", False),
    ],
)
def test_what_the_dns_is_never_asked_for(name: str, public: bool) -> None:
    assert is_public(domain_name(name)) is public


@given(st.text(max_size=300) | st.from_regex(r"[a-zA-Z0-9_.ü-]{1,260}", fullmatch=True))
def test_any_text_gives_a_name_that_dns_can_carry_or_a_value_error(text: str) -> None:
    try:
        name = domain_name(text)
    except ValueError:
        return
    assert name == name.lower()
    assert name.isascii()
    assert len(PREFIX + name) <= 253
    assert all(0 < len(label) <= 63 for label in name.split("."))
    assert domain_name(name) == name
