"""Reading `_redirects`: the web-redirects-file spec, section by section."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sites.errors import BrokenSiteFile
from gateway.sites.redirects_file import MAX_FILE_BYTES, MAX_TEXT, Placeholder, Rule, parse_redirects

EXAMPLES = b"""\
/redirect-one /one.html
/301-redirect-one /one.html 301
/302-redirect-two /two.html 302
/200-index /index.html 200
/posts/:year/:month/:day/:title /articles/:year/:month/:day/:title 301
/splat/* /redirected-splat/:splat 301
/not-found/* /404.html 404
/gone/* /410.html 410
/unavail/* /451.html 451
/* /index.html 200
"""
NOT_A_TARGET = "'to' is a path that begins with '/', or a URL of http, https, ipfs or ipns"


def rule(text: str) -> Rule:
    [found] = parse_redirects(text.encode())
    return found


def refused(data: bytes | str) -> str:
    with pytest.raises(BrokenSiteFile) as failure:
        parse_redirects(data.encode() if isinstance(data, str) else data)
    text = str(failure.value)
    assert text.startswith("could not parse _redirects: ")
    return text.removeprefix("could not parse _redirects: ")


def test_the_example_of_the_spec() -> None:
    rules = parse_redirects(EXAMPLES)
    assert [found.status for found in rules] == [301, 301, 302, 200, 301, 301, 404, 410, 451, 200]
    assert [found.line for found in rules] == list(range(1, 11))
    names = [Placeholder(name) for name in ("year", "month", "day", "title")]
    assert rules[4] == Rule(5, ("posts", *names), None, "/articles/:year/:month/:day/:title", 301)
    assert rules[5] == Rule(6, ("splat",), "", "/redirected-splat/:splat", 301)
    assert rules[9] == Rule(10, (), "", "/index.html", 200)


@pytest.mark.parametrize("status", [200, 301, 302, 303, 307, 308, 404, 410, 451])
def test_every_status(status: int) -> None:
    assert rule(f"/a /b {status}").status == status


def test_301_is_the_default() -> None:
    assert rule("/home /index.html").status == 301


@pytest.mark.parametrize("status", ["999", "42", "300", "304", "0301", "+301", "3_01", "٣٠١", "abc", "#200"])
def test_other_statuses(status: str) -> None:
    assert refused(f"/a /b {status}").startswith("line 1: status ")


def test_forced_redirects() -> None:
    assert refused("/a /b\n\n/c /d 301!") == "line 3: forced redirects (301!) are not supported"


def test_comments_and_white_space() -> None:
    text = b"# Redirect home to index.html\n\n  \t /home \t  /index.html\t301 \t\n\t# indented\n#/a\n"
    assert parse_redirects(text) == (Rule(3, ("home",), None, "/index.html", 301),)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends(end: str, last: bool) -> None:
    text = end.join(["/a /b", "/c /d 302"]) + end * last
    assert [found.to for found in parse_redirects(text.encode())] == ["/b", "/d"]


def test_a_byte_order_mark_is_no_part_of_the_first_rule() -> None:
    assert parse_redirects(b"\xef\xbb\xbf/a /b")[0].segments == ("a",)


def test_nothing() -> None:
    assert parse_redirects(b"") == parse_redirects(b"\n\r\n# only words\n") == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hello", "'to' is missing"),
        ("/a /b 301 # with a comment", "a rule is 'from to [status]'"),
        ("/a id=:id /b 301", "a rule is 'from to [status]'"),
        ("a /b", "'from' is a path that begins with '/'"),
        ("https://example.com/a /b", "'from' is a path that begins with '/'"),
        ("/a?b=c /b", "'from' is a path, without a query or a fragment"),
        ("/a#b /b", "'from' is a path, without a query or a fragment"),
        ("/a/*/b /b", "'from' can have one asterisk, at its end"),
        ("/a/** /b", "'from' can have one asterisk, at its end"),
        ("/*/* /b", "'from' can have one asterisk, at its end"),
        ("/a/:b* /b", "an asterisk cannot follow a placeholder in one segment"),
        ("/a/: /b", "':' is not a placeholder"),
        ("/a/:b:c /b", "':b:c' is not a placeholder"),
        ("/:a/:b/:a /b", "placeholder ':a' is there twice in 'from'"),
        ("/:splat/* /b", "placeholder ':splat' is there twice in 'from'"),
        ("/100% /b", "it has an invalid URL escape"),
        ("/a /b%2", "it has an invalid URL escape"),
        ("/%ff /b", "its escapes are no UTF-8"),
        ("/a\0 /b", "a path has no control characters"),
        ("/a ftp://example.com/", NOT_A_TARGET),
        ("/a javascript:alert(1)", NOT_A_TARGET),
        ("/a b", NOT_A_TARGET),
        ("/a https:///b", "the URL in 'to' has no host"),
        ("/a https://?b", "the URL in 'to' has no host"),
        ("/:a https://:a.example.com/", "the host of a URL in 'to' can have no placeholder"),
        ("/* https://:splat", "the host of a URL in 'to' can have no placeholder"),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    assert refused(f"/fine /fine\n{text}\n") == f"line 2: {why}"


@pytest.mark.parametrize("status", [200, 404, 410, 451])
def test_only_redirects_lead_to_other_sites(status: int) -> None:
    why = f"line 1: status {status} needs a path of this site in 'to', not a URL"
    assert refused(f"/api/* https://api.example.com/:splat {status}") == why


@pytest.mark.parametrize("url", ["http://a.b", "HTTPS://a.b:8080/c?d#e", "ipfs://bafy/a", "ipns://en.wiki/"])
def test_urls(url: str) -> None:
    assert rule(f"/a {url} 302").to == url


def test_the_same_placeholder_may_be_in_to_more_than_once() -> None:
    assert rule("/:a /:a/:a").to == "/:a/:a"


def test_text_that_is_no_utf8() -> None:
    assert refused(b"/a /b\n/\xe4 /b") == "line 2: not UTF-8"
    # Nobody reads a comment.
    assert len(parse_redirects(b"# f\xfcr alle\n/a /b")) == 1


def test_any_script_in_escapes_or_as_it_is() -> None:
    assert rule("/ą /ę") == rule("/%C4%85 /%C4%99") == Rule(1, ("ą",), None, "/%C4%99", 301)
    assert rule('/a /"b"\\c').to == "/%22b%22%5Cc"


def test_the_size_of_the_file() -> None:
    line = b"/from /to 301\n"
    whole = line * (MAX_FILE_BYTES // len(line))
    assert len(parse_redirects(whole + b"#" * (MAX_FILE_BYTES - len(whole)))) == len(whole) // len(line)
    assert refused(whole + line) == "redirects file size cannot exceed 65536 bytes"


def test_the_length_of_a_path() -> None:
    assert rule("/" + "a" * (MAX_TEXT - 1) + " /b")
    assert refused("/" + "a" * MAX_TEXT + " /b") == f"line 1: a path of more than {MAX_TEXT} characters"
    assert refused("/b /" + "a" * MAX_TEXT) == f"line 1: a path of more than {MAX_TEXT} characters"


_LINES = st.lists(
    st.one_of(
        st.text("/:*ab %#?.!\t\r301\ufeff\u00a0ü\\", max_size=30),
        st.from_regex(
            r"/(:?[ab]{1,2}/?){0,3}\*? (https://h)?/(:?[ab]/?){0,3}( (200|30[1278]|404))?", fullmatch=True
        ),
    ),
    max_size=6,
).map("\n".join)


@given(st.one_of(_LINES.map(str.encode), st.binary(max_size=200), st.text().map(str.encode)))
def test_anything_is_rules_or_the_typed_error(data: bytes) -> None:
    try:
        rules = parse_redirects(data)
    except BrokenSiteFile:
        return
    for found in rules:
        assert found.status in (200, 301, 302, 303, 307, 308, 404, 410, 451)
        assert found.to.isascii()
        assert found.to.isprintable()
        assert " " not in found.to
        assert len(set(found.names)) == len(found.names)
