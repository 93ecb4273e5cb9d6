"""CARs going out: which blocks, in which order, for every scope and range (trustless gateway spec)."""

from __future__ import annotations

import aiohttp
import pytest

from gateway.car_parameters import ByteRange, CarParameters, Scope, parse_car_parameters
from gateway.refusals import BadRequest
from ipld import codecs, dag_pb
from ipld.blocks import Block
from ipld.car import CarParser
from ipld.cid import DAG_CBOR, DAG_PB, RAW, Cid
from ipld.unixfs.directory import build_directory
from ipld.unixfs.node import Link, encode_inner
from ipld.unixfs.profiles import UNIXFS_V1_2025, Profile
from tests.gateway.gateways import Running

SMALL = Profile("small", 1, raw_leaves=True, chunk_size=10, width=3, shard_threshold=100, fanout=8)


def leaf(number: int) -> Block:
    data = bytes([number]) * 10
    return Block(Cid.of(data, RAW), data)


def inner(children: list[tuple[Block, int]]) -> Block:
    links = [dag_pb.PBLink(child.cid, "", len(child.data)) for child, _ in children]
    data = dag_pb.encode(links, encode_inner(size for _, size in children))
    return Block(Cid.of(data, DAG_PB), data)


LEAVES = [leaf(number) for number in range(4)]
LEFT, RIGHT = inner([(LEAVES[0], 10), (LEAVES[1], 10)]), inner([(LEAVES[2], 10), (LEAVES[3], 10)])
FILE = inner([(LEFT, 20), (RIGHT, 20)])
ALL_OF_FILE = [FILE, LEFT, LEAVES[0], LEAVES[1], RIGHT, LEAVES[2], LEAVES[3]]
SUB = build_directory([Link("file", FILE.cid, 40), Link("again", FILE.cid, 40)], UNIXFS_V1_2025)[-1]
ROOT = build_directory([Link("sub", SUB.cid, 80), Link("lone", LEAVES[0].cid, 10)], UNIXFS_V1_2025)[-1]


def read(body: bytes) -> tuple[list[str], list[str]]:
    parser = CarParser()
    blocks = [str(section.cid) for section in parser.feed(body)]
    parser.close()
    assert parser.roots is not None
    return [str(root) for root in parser.roots], blocks


def cids(blocks: list[Block]) -> list[str]:
    return [str(block.cid) for block in blocks]


async def blocks_of(gate: Running, target: str, **headers: str) -> list[str]:
    answer = await gate.get(f"/ipfs/{target}", **headers)
    assert answer.status == 200, answer
    return read(answer.body)[1]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (f"{FILE.cid}?format=car", ALL_OF_FILE),
        (f"{FILE.cid}?format=car&dag-scope=block", [FILE]),
        (f"{FILE.cid}?format=car&dag-scope=entity", ALL_OF_FILE),
        (f"{ROOT.cid}?format=car&dag-scope=entity", [ROOT]),
        (f"{ROOT.cid}?format=car", [ROOT, LEAVES[0], SUB, *[b for b in ALL_OF_FILE if b is not LEAVES[0]]]),
        (f"{ROOT.cid}/sub?format=car&dag-scope=block", [ROOT, SUB]),
        (f"{ROOT.cid}/sub/file?format=car&dag-scope=entity", [ROOT, SUB, *ALL_OF_FILE]),
        (f"{ROOT.cid}/sub/file?format=car&entity-bytes=0:9", [ROOT, SUB, FILE, LEFT, LEAVES[0]]),
        (f"{FILE.cid}?format=car&entity-bytes=0:0", [FILE, LEFT, LEAVES[0]]),
        (f"{FILE.cid}?format=car&entity-bytes=9:10", [FILE, LEFT, LEAVES[0], LEAVES[1]]),
        (f"{FILE.cid}?format=car&entity-bytes=19:20", [FILE, LEFT, LEAVES[1], RIGHT, LEAVES[2]]),
        (f"{FILE.cid}?format=car&entity-bytes=30:*", [FILE, RIGHT, LEAVES[3]]),
        (f"{FILE.cid}?format=car&entity-bytes=-1:*", [FILE, RIGHT, LEAVES[3]]),
        (f"{FILE.cid}?format=car&entity-bytes=-40:-31", [FILE, LEFT, LEAVES[0]]),
        (f"{FILE.cid}?format=car&entity-bytes=35:9999", [FILE, RIGHT, LEAVES[3]]),
        # On what is no file the range does not count.
        (f"{ROOT.cid}?format=car&entity-bytes=5:6", [ROOT]),
    ],
)
async def test_blocks_and_their_order(gate: Running, target: str, expected: list[Block]) -> None:
    await gate.add_blocks(*ALL_OF_FILE, SUB, ROOT)
    assert await blocks_of(gate, target) == cids(expected)


async def test_duplicates_only_when_asked_for(gate: Running) -> None:
    await gate.add_blocks(*ALL_OF_FILE, SUB, ROOT)
    twice = await blocks_of(gate, f"{SUB.cid}?format=car&car-dups=y")
    assert twice == cids([SUB, *ALL_OF_FILE, *ALL_OF_FILE])
    accept = "application/vnd.ipld.car; version=1; order=dfs; dups=y"
    assert await blocks_of(gate, f"{SUB.cid}", Accept=accept) == twice


async def test_blocks_outside_the_range_may_be_missing(gate: Running) -> None:
    await gate.add_blocks(FILE, LEFT, LEAVES[1])
    assert await blocks_of(gate, f"{FILE.cid}?format=car&entity-bytes=10:19") == cids([FILE, LEFT, LEAVES[1]])
    # So small a CAR is collected before it is begun: what is missing still has a status.
    assert (await gate.get(f"/ipfs/{FILE.cid}?format=car")).status == 404
    assert (await gate.get(f"/ipfs/{RIGHT.cid}?format=car")).status == 404


async def test_a_block_that_is_missed_late_cuts_the_connection(gate: Running) -> None:
    parts = [Block(Cid.of(data, RAW), data) for data in (bytes([n]) * 2**20 for n in range(8))]
    large = inner([(part, 2**20) for part in parts])
    await gate.add_blocks(large, *parts[:7])
    with pytest.raises(aiohttp.ClientError):
        await gate.get(f"/ipfs/{large.cid}?format=car")


async def test_a_sharded_directory(gate: Running) -> None:
    files = [leaf(number) for number in range(60)]
    shards = build_directory([Link(f"n{n}", block.cid, 10) for n, block in enumerate(files)], SMALL)
    await gate.add_blocks(*files, *shards)
    root = shards[-1].cid
    assert sorted(await blocks_of(gate, f"{root}?format=car&dag-scope=entity")) == sorted(set(cids(shards)))
    found = await blocks_of(gate, f"{root}/n7?format=car")
    assert found[0] == str(root)
    assert found[-1] == str(files[7].cid)
    assert set(found) < {*cids(shards), str(files[7].cid)}
    assert len(await blocks_of(gate, f"{root}?format=car")) == len(set(cids(shards + files)))


async def test_links_of_other_codecs_are_followed(gate: Running) -> None:
    data = codecs.encode(DAG_CBOR, {"a": LEAVES[0].cid, "b": [FILE.cid, Cid.parse("bafkqaaa")]})
    node = Block(Cid.of(data, DAG_CBOR), data)
    await gate.add_blocks(*ALL_OF_FILE, node)
    found = await blocks_of(gate, f"{node.cid}?format=car")
    assert found[:2] == cids([node, LEAVES[0]])
    assert set(found) == set(cids([node, *ALL_OF_FILE]))


async def test_headers(gate: Running) -> None:
    await gate.add_blocks(*ALL_OF_FILE, SUB, ROOT)
    target = f"/ipfs/{ROOT.cid}/sub/file"
    answer = await gate.get(f"{target}?format=car")
    assert answer.headers["Content-Type"] == "application/vnd.ipld.car; version=1; order=dfs; dups=n"
    assert answer.headers["Accept-Ranges"] == "none"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert f'filename="{ROOT.cid}_file.car"' in answer.headers["Content-Disposition"]
    assert answer.headers["Etag"].startswith(f'W/"{ROOT.cid}.car.')
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert read(answer.body)[0] == [str(FILE.cid)]
    head = await gate.ask("HEAD", f"{target}?format=car")
    assert (head.status, head.headers["Etag"], head.body) == (200, answer.headers["Etag"], b"")
    assert (await gate.get(f"{target}?format=car", If_None_Match=answer.headers["Etag"])).status == 304
    other = await gate.get(f"{target}?format=car&dag-scope=block")
    assert other.headers["Etag"] != answer.headers["Etag"]
    accepted = await gate.get(target, Accept="application/vnd.ipld.car")
    assert accepted.headers["Content-Location"].startswith(f"{target}?format=car&car-version=1")
    assert accepted.headers["Etag"] == answer.headers["Etag"]


@pytest.mark.parametrize(
    "query",
    ["dag-scope=some", "entity-bytes=5", "entity-bytes=a:b", "entity-bytes=5:2", "entity-bytes=40:50",
     "entity-bytes=-1:-5", "car-version=2", "car-order=bfs", "car-dups=maybe"],
)  # fmt: skip
async def test_parameters_that_mean_nothing(gate: Running, query: str) -> None:
    await gate.add_blocks(*ALL_OF_FILE)
    assert (await gate.get(f"/ipfs/{FILE.cid}?format=car&{query}")).status == 400


def test_the_query_counts_before_the_media_type() -> None:
    assert parse_car_parameters({"car-dups": "n"}, {"dups": "y"}) == CarParameters()
    assert parse_car_parameters({}, {"dups": "y", "order": "unk"}).duplicates
    assert parse_car_parameters({"entity-bytes": "1:*"}, {}).scope is Scope.ENTITY
    with pytest.raises(BadRequest):
        parse_car_parameters({}, {"version": "2"})


@pytest.mark.parametrize(
    ("first", "last", "size", "expected"),
    [(0, None, 5, (0, 5)), (2, 3, 5, (2, 4)), (-2, None, 5, (3, 5)), (-9, 0, 5, (0, 1)), (0, -1, 5, (0, 5)),
     (4, 9, 5, (4, 5)), (5, 9, 5, None), (0, None, 0, None), (3, -4, 5, None)],
)  # fmt: skip
def test_ranges(first: int, last: int | None, size: int, expected: tuple[int, int] | None) -> None:
    assert ByteRange(first, last).within(size) == expected
