from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipld import codecs, dag_pb
from ipld.blocks import Block
from ipld.cid import CBOR as PLAIN_CBOR
from ipld.cid import DAG_CBOR, DAG_JSON, JSON, Cid
from ipld.dag_pb import name_bytes
from ipld.data_model import Value
from ipld.errors import BlockNotFound, InvalidPath, MalformedBlock, NameNotFound, NameRecursion, NoLink
from ipld.names import ResolvedName
from ipld.paths import ContentPath, ResolveLimits, resolve, resolve_names
from ipld.unixfs.directory import build_tree
from ipld.unixfs.hamt import build_hamt
from ipld.unixfs.node import Link
from ipld.unixfs.profiles import UNIXFS_V1_2025
from storage.memory_blocks import MemoryBlocks
from tests.ipld.dags import dag_pb_block, raw_leaf, small

ROOT = "bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"


class Names:
    def __init__(self, **known: tuple[str, int | None]) -> None:
        self._known = known

    async def resolve(self, name: str) -> ResolvedName:
        if name not in self._known:
            raise NameNotFound(name)
        path, ttl = self._known[name]
        return ResolvedName(ContentPath.parse(path), ttl)


@pytest.mark.parametrize(
    ("raw", "segments", "slash", "encoded"),
    [
        ("", (), False, ""),
        ("/", (), True, "/"),
        ("/a/b", ("a", "b"), False, "/a/b"),
        ("//a///b//", ("a", "b"), True, "/a/b/"),
        ("/a%2Fb/c", ("a/b", "c"), False, "/a%2Fb/c"),
        ("/100%25.txt", ("100%.txt",), False, "/100%25.txt"),
        ("/%2541", ("%41",), False, "/%2541"),
        ("/a+b%20c", ("a+b c",), False, "/a+b%20c"),
        ("/%c3%bc", ("ü",), False, "/%C3%BC"),
        ("/ü", ("ü",), False, "/%C3%BC"),
        ("/./../x", (".", "..", "x"), False, "/./../x"),
        ("/a%3Fb%23", ("a?b#",), False, "/a%3Fb%23"),
    ],
)
def test_parse(raw: str, segments: tuple[str, ...], slash: bool, encoded: str) -> None:
    path = ContentPath.parse(f"/ipfs/{ROOT}{raw}")
    assert path == ContentPath("ipfs", ROOT, segments, slash)
    assert path.encoded() == f"/ipfs/{ROOT}{encoded}"
    assert str(path.cid) == ROOT


def test_str_is_decoded() -> None:
    assert str(ContentPath.parse(f"/ipfs/{ROOT}/a%20b/")) == f"/ipfs/{ROOT}/a b/"
    assert str(ContentPath.parse(f"/ipfs/{ROOT}") / "x") == f"/ipfs/{ROOT}/x"
    assert ContentPath.parse("/ipns/example.com/a").mutable


def test_the_text_that_the_conformance_suite_looks_for() -> None:
    with pytest.raises(InvalidPath) as caught:
        ContentPath.parse("/ipfs/QmInvalidCID")
    assert str(caught.value).startswith('invalid path "/ipfs/QmInvalidCID": ')


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "/",
        "ipfs/x",
        "/ipfs",
        "/ipfs/",
        "/ipld/x",
        f"/ipfs/{ROOT}/%zz",
        f"/ipfs/{ROOT}/%",
        f"/ipfs/%ff/{ROOT}",
        f"/ipfs/{ROOT}/a%00",
        f"/ipfs/{ROOT}/\ud800",
        f"/ipfs/{ROOT}" + "/a" * 300,
        f"/ipfs/{ROOT}/" + "a" * 20000,
        "/ipns/",
        "/ipns/a%2Fb",
        '/ipfs/"\n\x1b[0m',
    ],
)
def test_what_is_no_path(raw: str) -> None:
    with pytest.raises(InvalidPath, match=r"^invalid path ") as caught:
        ContentPath.parse(raw)
    text = str(caught.value).encode()
    assert len(text) < 2000
    assert not set(text) & set(range(32))


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name))
def test_names_of_any_bytes_come_back(name: bytes) -> None:
    path = ContentPath.parse(f"/ipfs/{ROOT}/{quote(name, safe='')}")
    assert [name_bytes(segment) for segment in path.segments] == [name]
    assert ContentPath.parse(path.encoded()) == path


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), max_size=5
    ),
    st.booleans(),
)
def test_encoded_paths_parse_to_the_same(segments: list[str], slash: bool) -> None:
    path = ContentPath("ipfs", ROOT, tuple(segments), slash)
    assert ContentPath.parse(path.encoded()) == path


@given(st.text(max_size=60))
def test_only_invalid_path_is_raised(text: str) -> None:
    for raw in (text, f"/ipfs/{ROOT}/{text}", f"/ipns/{text}"):
        with suppress(InvalidPath):
            ContentPath.parse(raw)


LEAF = raw_leaf(b"leaf")
CBOR = Block(Cid.of(b"\xa0", DAG_CBOR), b"\xa0")
OTHER = dag_pb_block(dag_pb.encode((), b"not unixfs"))
TREE = build_tree(
    {
        "a/b/leaf": Link("", LEAF.cid, 4),
        "a/cbor": Link("", CBOR.cid, 1),
        "other": Link("", OTHER.cid, 1),
        "a/sl%2Fash": Link("", LEAF.cid, 4),
    },
    UNIXFS_V1_2025,
)
BLOCKS = MemoryBlocks([LEAF, CBOR, OTHER, *TREE.blocks])
TOP = TREE.root.cid


async def test_resolve_names_every_block_on_the_way() -> None:
    found = await resolve(Names(), BLOCKS, ContentPath.parse(f"/ipfs/{TOP}/a/b/leaf"))
    assert (found.cid, found.remainder, found.mutable, found.ttl) == (LEAF.cid, (), False, None)
    assert found.roots[0] == TOP
    assert found.roots[-1] == LEAF.cid
    assert len(found.roots) == 4
    assert found.trail == found.roots[:-1]


async def test_a_root_alone_is_not_fetched() -> None:
    cid = Cid.of(b"not there")
    found = await resolve(Names(), BLOCKS, ContentPath("ipfs", str(cid)))
    assert (found.cid, found.roots, found.trail) == (cid, (cid,), ())
    with pytest.raises(BlockNotFound):
        await resolve(Names(), BLOCKS, ContentPath("ipfs", str(cid.of(b"gone", 0x70)), ("a",)))


@pytest.mark.parametrize("tail", ["nope", "a/b/leaf/x", ".", "..", "a/..", "a/sl%2Fash", "a/b/.."])
async def test_no_link(tail: str) -> None:
    path = ContentPath.parse(f"/ipfs/{TOP}/{tail}")
    with pytest.raises(NoLink, match=f'^no link named "{path.segments[-1]}" under baf'):
        await resolve(Names(), BLOCKS, path)


def block_of(codec: int, value: Value) -> Block:
    data = codecs.encode(codec, value)
    return Block(Cid.of(data, codec), data)


HELLO = block_of(DAG_JSON, {"hello": "this is not a link"})
BAR = block_of(DAG_CBOR, {"bar": HELLO.cid, "files": TOP, "list": [0, [LEAF.cid], {"": CBOR.cid}]})
FOO = block_of(DAG_JSON, {"foo": {"link": BAR.cid, "number": 1}})
UNKNOWN = Cid.of(b"x", 0x78)
PLAIN = [
    Block(Cid.of(data, codec), data) for codec, data in ((JSON, b'{"a": 1}'), (PLAIN_CBOR, b"\xa1\x61a\x01"))
]
NODE = dag_pb_block(dag_pb.encode([dag_pb.PBLink(BAR.cid, "x"), dag_pb.PBLink(LEAF.cid, "x")], b"not unixfs"))
MIXED = MemoryBlocks([LEAF, CBOR, OTHER, *TREE.blocks, HELLO, BAR, FOO, NODE, *PLAIN])


@pytest.mark.parametrize(
    ("tail", "cid", "remainder"),
    [
        ("foo/link/bar", HELLO.cid, ()),
        ("foo/link", BAR.cid, ()),
        ("foo", FOO.cid, ("foo",)),
        ("foo/number", FOO.cid, ("foo", "number")),
        ("foo/link/list/1/0", LEAF.cid, ()),
        ("foo/link/list/1", BAR.cid, ("list", "1")),
        ("foo/link/bar/hello", HELLO.cid, ("hello",)),
        ("foo/link/files/a/b/leaf", LEAF.cid, ()),
    ],
)
async def test_paths_lead_through_every_codec(tail: str, cid: Cid, remainder: tuple[str, ...]) -> None:
    found = await resolve(Names(), MIXED, ContentPath.parse(f"/ipfs/{FOO.cid}/{tail}"))
    assert (found.cid, found.remainder) == (cid, remainder)
    assert found.roots[-1] == cid
    assert len(found.roots) == len(found.path.segments) - len(remainder) + 1
    assert found.trail[0] == FOO.cid


@pytest.mark.parametrize(
    "tail",
    [
        "x",
        "foo/x",
        "foo/number/x",
        "foo/link/list/3",
        "foo/link/list/01",
        "foo/link/list/-1",
        "foo/link/list/x",
        "foo/link/list/²",
        "foo/link/bar/hello/x",
        "foo/link/files/x",
        "foo/.",
        "foo/link/list/9999999999",
    ],
)
async def test_what_a_block_does_not_have(tail: str) -> None:
    with pytest.raises(NoLink, match=r'^no link named "'):
        await resolve(Names(), MIXED, ContentPath.parse(f"/ipfs/{FOO.cid}/{tail}"))


async def test_names_lead_through_dag_pb_that_is_not_unixfs() -> None:
    found = await resolve(Names(), MIXED, ContentPath.parse(f"/ipfs/{NODE.cid}/x/files"))
    assert (found.cid, found.trail) == (TOP, (NODE.cid, BAR.cid))
    with pytest.raises(NoLink):
        await resolve(Names(), MIXED, ContentPath.parse(f"/ipfs/{NODE.cid}/y"))


async def test_what_cannot_be_followed_is_left_over() -> None:
    found = await resolve(Names(), MIXED, ContentPath("ipfs", str(UNKNOWN), ("x", "y")))
    assert (found.cid, found.remainder, found.trail) == (UNKNOWN, ("x", "y"), ())
    for block in PLAIN:
        found = await resolve(Names(), MIXED, ContentPath("ipfs", str(block.cid), ("a",)))
        assert (found.cid, found.remainder) == (block.cid, ("a",))


async def test_a_malformed_block_on_the_way() -> None:
    bad = Block(Cid.of(b"\xff", DAG_CBOR), b"\xff")
    with pytest.raises(MalformedBlock):
        await resolve(Names(), MemoryBlocks([bad]), ContentPath("ipfs", str(bad.cid), ("x",)))


async def test_shards_on_the_way_are_in_the_trail() -> None:
    entries = [Link(f"n{n}", LEAF.cid, 4) for n in range(100)]
    made = build_hamt(entries, small(fanout=8))
    found = await resolve(Names(), MemoryBlocks(made), ContentPath("ipfs", str(made[-1].cid), ("n7",)))
    assert found.roots == (made[-1].cid, LEAF.cid)
    assert len(found.trail) > 1
    assert set(found.trail) <= {block.cid for block in made}


async def test_names_are_followed() -> None:
    names = Names(
        a=("/ipns/b/a", 300), b=(f"/ipfs/{TOP}", 60), c=(f"/ipfs/{TOP}/a/", None), loop=("/ipns/loop/x", 1)
    )
    found = await resolve(names, BLOCKS, ContentPath.parse("/ipns/a/b/leaf/"))
    assert (found.cid, found.mutable, found.ttl) == (LEAF.cid, True, 60)
    assert str(found.path) == f"/ipfs/{TOP}/a/b/leaf/"
    assert len(found.roots) == 4
    found = await resolve(names, BLOCKS, ContentPath.parse("/ipns/c"))
    assert (found.ttl, found.path.trailing_slash) == (None, False)
    for name, error in (("loop", NameRecursion), ("unknown", NameNotFound)):
        with pytest.raises(error):
            await resolve_names(names, ContentPath("ipns", name))


async def test_limits() -> None:
    names = Names(a=(f"/ipfs/{TOP}/a/b", 1))
    with pytest.raises(InvalidPath, match="more than 2 segments"):
        await resolve(names, BLOCKS, ContentPath("ipns", "a", ("leaf",)), ResolveLimits(segments=2))
    with pytest.raises(InvalidPath):
        await resolve(names, BLOCKS, ContentPath("ipfs", "junk"))
