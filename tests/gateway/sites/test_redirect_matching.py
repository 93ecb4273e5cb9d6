"""Which rule a request meets, and what becomes of its path and query."""

from __future__ import annotations

import string
import time
from itertools import product
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sites.errors import BrokenSiteFile
from gateway.sites.redirect_matching import MAX_TARGET, Target, find_target, merge_queries
from gateway.sites.redirects_file import MAX_FILE_BYTES, MAX_TEXT, parse_redirects
from tests.gateway.sites.test_redirects_file import EXAMPLES

# The test vector bafybeiee3ltldvmfgsxiqazbatrkbvkl34eanbourajwnavhupb64nnbxa, as the spec prints it.
QUERIES = """
/source1/* /target-file?static-query1=static-val1&static-query2=static-val2 301
/source2/:code/:name /target-file?code=:code&name=:name 301
/source3/* https://example.net/target3/:splat 301
"""
DYNAMIC = "dynamic-query1=dynamic-value1&dynamic-query2=dynamic-value2"


def target(text: str, path: str, query: str = "") -> Target | None:
    return find_target(parse_redirects(text.encode()), path, query)


def leads(text: str, path: str, query: str = "") -> str | None:
    found = target(text, path, query)
    return None if found is None else found.to


@pytest.mark.parametrize(
    ("path", "to", "status"),
    [
        ("/redirect-one", "/one.html", 301),
        ("/301-redirect-one", "/one.html", 301),
        ("/302-redirect-two", "/two.html", 302),
        ("/200-index", "/index.html", 200),
        ("/posts/2022/01/01/hello-world", "/articles/2022/01/01/hello-world", 301),
        ("/splat/one.html", "/redirected-splat/one.html", 301),
        ("/splat/a/b/c", "/redirected-splat/a/b/c", 301),
        ("/not-found/has-no-redirects-entry", "/404.html", 404),
        ("/gone/has-no-redirects-entry", "/410.html", 410),
        ("/unavail/has-no-redirects-entry", "/451.html", 451),
        ("/catch-all", "/index.html", 200),
        ("/posts/2022/01", "/index.html", 200),
    ],
)
def test_the_example_of_the_spec(path: str, to: str, status: int) -> None:
    found = find_target(parse_redirects(EXAMPLES), path)
    assert found is not None
    assert (found.to, found.status) == (to, status)
    assert found.is_redirect == (status in (301, 302))


def test_the_placeholders_of_the_spec() -> None:
    text = "/posts/:month/:day/:year/:slug  /articles/:year/:month/:day/:slug"
    assert leads(text, "/posts/06/15/2022/hello-world") == "/articles/2022/06/15/hello-world"
    splat = "/posts/* /articles/:splat"
    assert leads(splat, "/posts/2022/06/15/hello-world") == "/articles/2022/06/15/hello-world"


def test_the_first_rule_that_matches_counts() -> None:
    assert target("/a /1\n/a /2\n/* /3", "/a") == Target("/1", 301, 1)
    assert target("/* /3\n/a /1", "/a") == Target("/3", 301, 1)
    assert target("/a /1\n\n/b /2", "/c") is None


@pytest.mark.parametrize(
    ("rule", "path", "to"),
    [
        # A trailing slash makes no difference, nor do empty segments: in content paths neither.
        ("/a /b", "/a/", "/b"),
        ("/a/ /b", "/a", "/b"),
        ("/a/b /c", "//a//b", "/c"),
        ("/a /b", "/a/b", None),
        ("/a /b", "/A", None),
        ("/a/:x /b", "/a", None),
        ("/a/:x /b", "/a/1/2", None),
        # The remainder may be empty, but the slash before the asterisk is there.
        ("/a/* /b/:splat", "/a", None),
        ("/a/* /b/:splat", "/a/", "/b/"),
        ("/a/* /b/:splat", "/ab", None),
        ("/a/* /b/:splat", "/a/c/", "/b/c/"),
        ("/* /b/:splat", "/", "/b/"),
        ("/a/post-* /b/:splat", "/a/post-1/x%2Fy", "/b/1/x%2Fy"),
        ("/a/post-* /b/:splat", "/a/post-%20%41/", "/b/%20A/"),
        ("/a/post-* /b/:splat", "/a/post-", "/b/"),
        ("/a/post-* /b/:splat", "/a/post", None),
        ("/a/:x/* /b/:x/:splat", "/a/1/2/3", "/b/1/2/3"),
    ],
)
def test_segments_and_splats(rule: str, path: str, to: str | None) -> None:
    assert leads(rule, path) == to


@pytest.mark.parametrize(
    ("rule", "path", "to"),
    [
        # Either form of a name meets the other.
        ("/ą /b", "/%c4%85", "/b"),
        ("/%C4%85 /b", "/ą", "/b"),
        ("/a%2Fb /c", "/a/b", None),
        ("/a%2Fb /c", "/a%2fb", "/c"),
        ("/a/* /b/:splat", "/a/x%20y%2Fz%3F%23%25", "/b/x%20y%2Fz%3F%23%25"),
        ("/a/* /b/:splat", '/a/ü\\"<>', "/b/%C3%BC%5C%22%3C%3E"),
        ("/a/:x /b#:x", "/a/c%20d", "/b#c%20d"),
        ("/a/* /b?p=:splat", "/a/c/d", "/b?p=c/d"),
    ],
)
def test_escapes_are_kept(rule: str, path: str, to: str | None) -> None:
    assert leads(rule, path) == to


def test_a_path_cannot_add_parameters() -> None:
    assert leads("/u/:u /x?u=:u&a=1", "/u/me&a=2&b=3+4=%26") == "/x?u=me%26a%3D2%26b%3D3%2B4%3D%26&a=1"


def test_names_that_begin_with_each_other() -> None:
    text = "/:id/:id2/:i /x/:id2/:id/:i/:id20/:none/:"
    assert leads(text, "/A/B/C") == "/x/B/A/C/B0/:none/:"
    assert leads("/:a-b/:a /:a-b/:a-c.html", "/1/2") == "/1/2-c.html"


def test_a_splat_that_nothing_gave_is_empty() -> None:
    assert leads("/a /b/:splat/c", "/a") == "/b//c"


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("/* /:splat", "//evil.example/x"),
        ("/* //:splat", "/evil.example/x"),
        ("/x/:a/* /:splat/:a", "/x/evil.example/"),
        ("/:a/* /:splat", "/x//evil.example"),
        ("/:a/* /:splat", "/x/\\evil.example"),
        ("/:a/* /:splat", "/x/\t/evil.example"),
        ("/* /:splat", "/%2Fevil.example"),
    ],
)
def test_a_path_of_this_site_never_leads_to_another(rule: str, path: str) -> None:
    location = leads(rule, path)
    assert location is not None
    assert location.startswith("/")
    assert location[1:2] not in ("/", "\\")
    assert urlsplit(location).netloc == ""


@pytest.mark.parametrize(
    ("path", "query", "location"),
    [
        (
            "/source1/source-file",
            DYNAMIC,
            f"/target-file?{DYNAMIC}&static-query1=static-val1&static-query2=static-val2",
        ),
        ("/source1/x", "", "/target-file?static-query1=static-val1&static-query2=static-val2"),
        ("/source1/x", "static-query1=mine", "/target-file?static-query1=mine&static-query2=static-val2"),
        (
            "/source2/codeA/nameA",
            DYNAMIC,
            f"/target-file?code=codeA&{DYNAMIC}&name=nameA",
        ),
        ("/source2/codeA/nameA", "name=nameB", "/target-file?code=codeA&name=nameB"),
        (
            "/source3/this/is/catch-all/splat-with",
            DYNAMIC,
            f"https://example.net/target3/this/is/catch-all/splat-with?{DYNAMIC}",
        ),
    ],
)
def test_the_query_vector_of_the_spec(path: str, query: str, location: str) -> None:
    assert leads(QUERIES, path, query) == location


@pytest.mark.parametrize(
    ("static", "dynamic", "merged"),
    [
        ("", "", ""),
        ("", "b=1&a=%20+&b=2&c", "b=1&a=%20+&b=2&c"),
        ("b=1&a=2", "", "b=1&a=2"),
        # Every dynamic value stays, and takes the place of every static one of that name.
        ("a=1&a=2&b=3", "a=4&a=5", "a=4&a=5&b=3"),
        ("a%20b=1", "a+b=2", "a+b=2"),
        ("a=1", "A=2", "A=2&a=1"),
        ("a=1", "a", "a"),
        ("a=1", "&&", "a=1"),
        ("z=1", "y=3&x=2&y=1", "x=2&y=3&y=1&z=1"),
    ],
)
def test_dynamic_parameters_override_static_ones(static: str, dynamic: str, merged: str) -> None:
    assert merge_queries(static, dynamic) == merged


def test_a_query_comes_before_the_fragment() -> None:
    assert leads("/a /b?x=1#c", "/a", "y=2") == "/b?x=1&y=2#c"
    assert leads("/a https://h.example#c", "/a", "y=2") == "https://h.example?y=2#c"
    assert leads("/a /b", "/a", 'q="<é>\\#') == "/b?q=%22%3C%C3%A9%3E%5C%23"


def test_pages_of_the_site_are_paths_alone() -> None:
    assert leads("/* /index.html?a=1#b 200", "/x", "c=2") == "/index.html"
    assert leads("/* /404.html?a=1 404", "/x", "c=2") == "/404.html"


def test_the_length_of_a_target() -> None:
    text = "/* /" + ":splat" * 1000
    path = "/" + "a" * (MAX_TARGET // 1000)
    assert len(leads(text, path) or "") == 16_001
    with pytest.raises(BrokenSiteFile, match=f"^line 1 of _redirects leads to more than {MAX_TARGET} "):
        leads(text, path + "a")


def test_the_worst_files_take_linear_time() -> None:
    names = [
        "".join(letters) for size in (1, 2, 3) for letters in product(string.ascii_lowercase, repeat=size)
    ]
    many = "".join(f"/a/:{name}/* /{name}\n" for name in names)[:MAX_FILE_BYTES].rpartition("\n")[0]
    long = "".join(f"/:{name}" for name in names)[: MAX_TEXT - 20].rpartition("/")[0]
    path = "".join("/x" for _ in range(long.count("/")))
    crowded = f"{long} /{':aaaaaaaaaa' * (MAX_TEXT // 12)}\n"
    started = time.process_time()
    for _ in range(5):
        assert leads(many, "/b/c/d") is None
        assert leads(many, "/a/" + "c/" * 200) is not None
        assert leads(crowded, path) is not None
    assert time.process_time() - started < 5


_PATHS = st.text("/:*ab%2f.\\?&=+#ü\udcff", max_size=20).map(lambda text: "/" + text)
_RULES = st.from_regex(
    r"/(:?[ab]{1,2}/?){0,3}\*? "
    r"(https://h\.example)?/(:?([ab]{1,2}|splat)[/.]?){0,3}(\?[ab]=:[ab])?( (200|302|404))?",
    fullmatch=True,
)


@given(st.lists(_RULES, max_size=4).map("\n".join), _PATHS, st.text('ab=&+%"ü\udcff', max_size=12))
def test_any_request_gets_a_sound_target_or_none(text: str, path: str, query: str) -> None:
    try:
        rules = parse_redirects(text.encode())
    except BrokenSiteFile:
        return
    found = find_target(rules, path, query)
    if found is None:
        return
    assert found.to.isascii()
    assert found.to.isprintable()
    assert " " not in found.to
    assert "\\" not in found.to
    parts = urlsplit(found.to)
    assert (parts.scheme, parts.netloc) in (("", ""), ("https", "h.example"))
    if not found.is_redirect:
        assert found.to == parts.path
