"""`represent_car`: what needs no server to be seen."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest

from gateway.car_parameters import ByteRange, CarParameters, Scope, parse_car_parameters
from gateway.formats.car import represent_car
from gateway.names import NoNames
from gateway.negotiation import Format, Wanted
from gateway.refusals import BadRequest
from gateway.representation import TO_THE_END, Representation
from gateway.request import ContentRequest
from ipld import dag_pb
from ipld.blocks import Block, FileSpan
from ipld.car import CarParser
from ipld.cid import Cid
from ipld.errors import BlockNotFound, NoLink
from ipld.paths import ContentPath, resolve
from ipld.unixfs.node import Kind, encode_data
from storage.memory_blocks import MemoryBlocks
from tests.ipld.dags import blocks_of, dag_pb_block, raw_leaf, small

LINK, FILE = blocks_of(bytes(range(60)), small())
ROOT = LINK.cid


async def shown(
    blocks: MemoryBlocks, path: str, query: str = "", *, accept: bool = False, **parameters: str
) -> Representation:
    parsed = ContentPath.parse(path)
    wanted = ContentRequest(
        path=parsed, wanted=Wanted(Format.CAR, parameters, by_accept=accept), raw_path=path, query=query
    )
    return await represent_car(blocks, wanted, await resolve(NoNames(), blocks, parsed))


async def read(representation: Representation) -> tuple[tuple[Cid, ...], list[Cid]]:
    assert representation.read is not None
    parser, sections = CarParser(), list[Cid]()
    async with aclosing(representation.read(0, TO_THE_END)) as pieces:
        async for piece in pieces:
            assert not isinstance(piece, FileSpan)
            for section in parser.feed(piece):
                assert Cid.of(section.data, section.cid.codec) == section.cid
                sections.append(section.cid)
    parser.close()
    assert parser.roots is not None
    return parser.roots, sections


@pytest.mark.parametrize(
    ("text", "size", "span", "outside"),
    [
        ("0:*", 10, (0, 10), False),
        ("0:0", 10, (0, 1), False),
        ("3:5", 10, (3, 6), False),
        ("3:99", 10, (3, 10), False),
        ("-3:*", 10, (7, 10), False),
        ("-99:*", 10, (0, 10), False),
        ("-99:-3", 10, (0, 8), False),
        ("2:-3", 10, (2, 8), False),
        ("-5:-3", 10, (5, 8), False),
        ("9:9", 10, (9, 10), False),
        ("10:*", 10, None, True),
        ("10:12", 10, None, True),
        ("-20:-11", 10, None, True),
        ("0:-11", 10, None, True),
        ("6:-6", 10, None, False),
        ("-3:2", 10, None, False),
    ],
)
def test_byte_ranges(text: str, size: int, span: tuple[int, int] | None, outside: bool) -> None:
    wanted = parse_car_parameters({"entity-bytes": text}, {}).bytes
    assert wanted is not None
    assert (wanted.within(size), wanted.is_outside(size)) == (span, outside)


@pytest.mark.parametrize(
    ("query", "accept", "meant"),
    [
        ({}, {}, CarParameters()),
        ({"entity-bytes": "1:*"}, {}, CarParameters(Scope.ENTITY, ByteRange(1, None))),
        ({"entity-bytes": "1:2", "dag-scope": "all"}, {}, CarParameters(Scope.ALL, ByteRange(1, 2))),
        ({"car-dups": "n"}, {"dups": "y"}, CarParameters()),
        ({}, {"dups": "y", "order": "unk", "version": "1"}, CarParameters(duplicates=True)),
    ],
)
def test_parameters(query: dict[str, str], accept: dict[str, str], meant: CarParameters) -> None:
    assert parse_car_parameters(query, accept) == meant


@pytest.mark.parametrize(
    ("query", "accept"),
    [
        ({name: value}, {})
        for name in ("dag-scope", "car-version", "car-order", "car-dups")
        for value in ("", "2")
    ]
    + [({}, {"version": "2"}), ({}, {"order": "bfs"}), ({}, {"dups": "yes"})]
    + [
        ({"entity-bytes": text}, {})
        for text in (
            "",
            ":",
            "1",
            "1:",
            ":1",
            "*:1",
            "1:2:3",
            "a:b",
            "5:3",
            "-3:-5",
            "١:2",
            "9" * 19 + ":*",
            "+1:2",
        )
    ],
)
def test_parameters_that_mean_nothing(query: dict[str, str], accept: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        parse_car_parameters(query, accept)


async def test_a_range_outside_is_refused_and_an_empty_one_is_the_block_alone() -> None:
    """Trustless gateway spec, "entity-bytes"."""
    blocks = MemoryBlocks(FILE)
    for outside in ("60:*", "60:70", "-90:-61"):
        with pytest.raises(BadRequest, match="60 bytes"):
            await shown(blocks, f"/ipfs/{ROOT}", f"entity-bytes={outside}")
    for empty in ("40:-40", "-10:20"):
        assert (await read(await shown(blocks, f"/ipfs/{ROOT}", f"entity-bytes={empty}")))[1] == [ROOT]


async def test_a_range_of_what_is_no_file_is_not_looked_at() -> None:
    leaf = raw_leaf(b"abc")
    root = dag_pb_block(dag_pb.encode([dag_pb.PBLink(leaf.cid, "f", 3)], encode_data(Kind.DIRECTORY)))
    answer = await shown(MemoryBlocks([root]), f"/ipfs/{root.cid}", "entity-bytes=999:*")
    assert (await read(answer))[1] == [root.cid]


async def test_a_block_that_is_not_here_is_known_before_anything_is_sent() -> None:
    """Trustless gateway spec, "404 Not Found": HEAD requests for any CID as well."""
    with pytest.raises(BlockNotFound):
        await shown(MemoryBlocks(), f"/ipfs/{ROOT}")
    leaf = raw_leaf(b"abc")
    root = dag_pb_block(dag_pb.encode([dag_pb.PBLink(leaf.cid, "f", 3)], encode_data(Kind.DIRECTORY)))
    with pytest.raises(BlockNotFound):
        await shown(MemoryBlocks([root]), f"/ipfs/{root.cid}/f")
    with pytest.raises(NoLink):
        await shown(MemoryBlocks([root]), f"/ipfs/{root.cid}/g")


async def test_the_etag_is_of_the_content_and_the_parameters() -> None:
    blocks = MemoryBlocks(FILE)
    queries = (
        "",
        "dag-scope=block",
        "dag-scope=entity",
        "entity-bytes=0:4",
        "entity-bytes=0:5",
        "car-dups=y",
    )
    etags = [(await shown(blocks, f"/ipfs/{ROOT}", query)).etag or "" for query in queries]
    assert len(set(etags)) == len(queries)
    assert all(etag.startswith(f'W/"{ROOT}.car.') for etag in etags)
    assert (await shown(blocks, f"/ipfs/{ROOT}/", "filename=x")).etag == etags[0]


async def test_the_etag_follows_a_name_to_its_new_content() -> None:
    other, more = blocks_of(b"newer", small())
    blocks = MemoryBlocks([*FILE, *more])
    path = ContentPath.parse("/ipns/example.org")
    wanted = ContentRequest(path=path, wanted=Wanted(Format.CAR), raw_path=str(path), query="")
    etags, names = set(), []
    for root in (ROOT, other.cid):
        found = await resolve(NoNames(), blocks, ContentPath.parse(f"/ipfs/{root}"))
        answer = await represent_car(blocks, wanted, replace(found, mutable=True, ttl=60))
        etags.add(answer.etag)
        names.append(answer.headers["Content-Disposition"])
    assert len(etags) == 2
    assert [
        f'filename="{root}.car"' in name for root, name in zip((ROOT, other.cid), names, strict=True)
    ] == [
        True,
        True,
    ]


async def test_the_address_of_this_very_answer() -> None:
    blocks = MemoryBlocks(FILE)
    plain = await shown(blocks, f"/ipfs/{ROOT}", "a=1&car-order=unk", accept=True, dups="y")
    assert plain.headers["Content-Location"] == (
        f"/ipfs/{ROOT}?a=1&car-order=unk&format=car&car-version=1&car-dups=y"
    )
    assert "Content-Location" not in (await shown(blocks, f"/ipfs/{ROOT}", "format=car")).headers


async def test_the_probe() -> None:
    """Trustless gateway spec, "Dedicated Probe Paths": a CAR of that root, and no block in it."""
    probe = Cid.parse("bafkqaaa")
    assert await read(await shown(MemoryBlocks(), "/ipfs/bafkqaaa")) == ((probe,), [])


async def test_little_is_read_before_it_is_wanted() -> None:
    class Counting(MemoryBlocks):
        asked = 0

        async def get(self, cid: Cid) -> bytes:
            self.asked += 1
            return await super().get(cid)

    leaves = [Block(Cid.of(data := bytes([n]) * 200_000), data) for n in range(100)]
    links = [dag_pb.PBLink(leaf.cid, f"{n:03}", 200_000) for n, leaf in enumerate(leaves)]
    root = dag_pb_block(dag_pb.encode(links, encode_data(Kind.DIRECTORY)))
    blocks = Counting([*leaves, root])
    answer = await shown(blocks, f"/ipfs/{root.cid}")
    asked = blocks.asked
    assert asked < 30
    assert answer.read is not None
    async with aclosing(answer.read(0, TO_THE_END)) as pieces:
        for _ in range(3):
            await anext(pieces)
    assert blocks.asked - asked < 20
    assert len(asyncio.all_tasks()) == 1
