"""DNSLink names as one label: the examples of the subdomain gateway spec, and back again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipld.dnslink_names import MAX_LABEL, inline_dnslink, uninline_dnslink

LABEL = st.from_regex("[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
NAME = st.lists(LABEL, min_size=1, max_size=4).map(".".join)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("en.wikipedia-on-ipfs.org", "en-wikipedia--on--ipfs-org"),
        ("my.v-long.example.com", "my-v--long-example-com"),
        ("docs.ipfs.tech", "docs-ipfs-tech"),
        ("a--b.c", "a----b-c"),
        ("xn--bcher-kva.example", "xn----bcher--kva-example"),
    ],
)
def test_the_spec_s_examples(name: str, label: str) -> None:
    assert inline_dnslink(name) == label
    assert uninline_dnslink(label) == name


def test_three_hyphens_are_read_from_the_left() -> None:
    # No host name is written so; Kubo reads it as a hyphen and a dot.
    assert uninline_dnslink("a---b") == "a-.b"


def test_the_dot_that_ends_a_full_name_is_no_part_of_the_label() -> None:
    assert inline_dnslink("example.org.") == "example-org"


def test_a_label_is_at_most_63_characters() -> None:
    assert len(inline_dnslink("a" * 59 + ".org")) == MAX_LABEL
    with pytest.raises(ValueError, match="64 characters"):
        inline_dnslink("a" * 60 + ".org")


@given(NAME)
def test_every_host_name_comes_back(name: str) -> None:
    label = inline_dnslink(name)
    assert "." not in label
    assert uninline_dnslink(label) == name


@given(NAME, NAME)
def test_no_two_names_share_a_label(one: str, other: str) -> None:
    assert (inline_dnslink(one) == inline_dnslink(other)) == (one == other)


@given(st.text(alphabet="ab-", max_size=MAX_LABEL))
def test_every_label_gives_some_text(label: str) -> None:
    assert "--" not in uninline_dnslink(label.replace("-", ""))
    assert len(uninline_dnslink(label)) <= len(label)
