"""CARs going out: which blocks, in which order, for every scope and range (trustless gateway spec)."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import aiohttp
import pytest

from gateway.formats.car import represent_car
from gateway.negotiation import Format, Wanted
from gateway.representation import TO_THE_END, Representation
from gateway.request import ContentRequest
from ipld import codecs
from ipld.blocks import Block
from ipld.car import CarParser
from ipld.cid import DAG_CBOR, Cid
from ipld.errors import NoLink
from ipld.paths import ContentPath, resolve
from ipld.unixfs.directory import build_directory
from ipld.unixfs.node import Link
from ipld.unixfs.profiles import UNIXFS_V1_2025
from naming.names import NoNames
from storage.memory_blocks import MemoryBlocks
from tests.gateway.gateways import Running
from tests.ipld.dags import Watched, blocks_of, directory, inner_node, raw_leaf, small

SMALL = small(chunk_size=10, shard_threshold=100, fanout=8)
LEAVES = [raw_leaf(bytes([number]) * 10) for number in range(4)]
LEFT = inner_node([(LEAVES[0], 10), (LEAVES[1], 10)])
RIGHT = inner_node([(LEAVES[2], 10), (LEAVES[3], 10)])
FILE = inner_node([(LEFT, 20), (RIGHT, 20)])
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


async def sent(gate: Running, target: str, **headers: str) -> list[str]:
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
        # A range of no bytes is the block alone (trustless gateway spec, "entity-bytes").
        (f"{FILE.cid}?format=car&entity-bytes=30:-30", [FILE]),
        (f"{FILE.cid}?format=car&entity-bytes=-10:20", [FILE]),
        # On what is no file the range does not count.
        (f"{ROOT.cid}?format=car&entity-bytes=999:*", [ROOT]),
    ],
)
async def test_blocks_and_their_order(gate: Running, target: str, expected: list[Block]) -> None:
    await gate.add_blocks(*ALL_OF_FILE, SUB, ROOT)
    assert await sent(gate, target) == cids(expected)


async def test_duplicates_only_when_asked_for(gate: Running) -> None:
    await gate.add_blocks(*ALL_OF_FILE, SUB, ROOT)
    twice = await sent(gate, f"{SUB.cid}?format=car&car-dups=y")
    assert twice == cids([SUB, *ALL_OF_FILE, *ALL_OF_FILE])
    accept = "application/vnd.ipld.car; version=1; order=dfs; dups=y"
    assert await sent(gate, f"{SUB.cid}", Accept=accept) == twice


async def test_blocks_outside_the_range_may_be_missing(gate: Running) -> None:
    await gate.add_blocks(FILE, LEFT, LEAVES[1])
    assert await sent(gate, f"{FILE.cid}?format=car&entity-bytes=10:19") == cids([FILE, LEFT, LEAVES[1]])
    # So small a CAR is collected before it is begun: what is missing still has a status.
    assert (await gate.get(f"/ipfs/{FILE.cid}?format=car")).status == 404


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_block_that_is_not_here_is_known_before_anything_is_sent(gate: Running, method: str) -> None:
    """Trustless gateway spec, "404 Not Found": HEAD requests for any CID as well."""
    await gate.add_blocks(ROOT)
    for path in (f"{FILE.cid}", f"{ROOT.cid}/sub", f"{ROOT.cid}/lone"):
        assert (await gate.ask(method, f"/ipfs/{path}?format=car")).status == 404


async def test_a_path_that_leads_nowhere_is_shown_by_its_blocks(gate: Running) -> None:
    await gate.add_blocks(*ALL_OF_FILE, SUB, ROOT)
    for path, expected in (("none", [ROOT]), ("sub/none", [ROOT, SUB]), ("sub/file/none", [ROOT, SUB, FILE])):
        answer = await gate.get(f"/ipfs/{ROOT.cid}/{path}/index.html?format=car&dag-scope=entity")
        assert (answer.status, read(answer.body)) == (200, ([str(ROOT.cid)], cids(expected)))
        # What is added later has another root, yet what is blocked may come back.
        assert answer.headers["Cache-Control"] == "public, max-age=60"
        again = await gate.get(f"/ipfs/{ROOT.cid}/{path}?format=car", If_None_Match=answer.headers["ETag"])
        assert again.status == 304
    asked = await gate.get(f"/ipfs/{ROOT.cid}/none?a=1", Accept="application/vnd.ipld.car; dups=y")
    assert asked.headers["Content-Location"] == (
        f"/ipfs/{ROOT.cid}/none?a=1&format=car&car-version=1&car-order=dfs&car-dups=y"
    )
    assert asked.headers["X-Ipfs-Roots"] == str(ROOT.cid)
    head = await gate.ask("HEAD", f"/ipfs/{ROOT.cid}/none?format=car")
    assert (head.status, head.headers["Content-Type"].split(";")[0]) == (200, "application/vnd.ipld.car")
    # All other formats have a status for it; and no block is needed to know that a raw one has no links.
    assert (await gate.get(f"/ipfs/{ROOT.cid}/none?format=raw")).status == 404
    assert (await gate.get(f"/ipfs/{LEAVES[0].cid}/none?format=car")).status == 404


async def test_the_shards_that_show_that_a_name_is_missing(gate: Running) -> None:
    shards = build_directory([Link(f"{number}", LEAVES[0].cid, 10) for number in range(100)], SMALL)
    await gate.add_blocks(*shards, LEAVES[0])
    root = shards[-1].cid
    carried = await sent(gate, f"{root}/none?format=car")
    assert carried[0] == str(root)
    proof = MemoryBlocks([block for block in shards if str(block.cid) in carried])
    with pytest.raises(NoLink):
        await resolve(NoNames(), proof, ContentPath.parse(f"/ipfs/{root}/none"))
    assert len(carried) < len(shards)


async def test_a_block_that_is_missed_late_cuts_the_connection(gate: Running) -> None:
    parts = [raw_leaf(bytes([number]) * 2**20) for number in range(8)]
    large = inner_node([(part, 2**20) for part in parts])
    await gate.add_blocks(large, *parts[:7])
    with pytest.raises(aiohttp.ClientError):
        await gate.get(f"/ipfs/{large.cid}?format=car")


async def test_a_sharded_directory(gate: Running) -> None:
    files = [raw_leaf(bytes([number]) * 10) for number in range(60)]
    shards = build_directory([Link(f"n{n}", block.cid, 10) for n, block in enumerate(files)], SMALL)
    await gate.add_blocks(*files, *shards)
    root = shards[-1].cid
    assert sorted(await sent(gate, f"{root}?format=car&dag-scope=entity")) == sorted(set(cids(shards)))
    found = await sent(gate, f"{root}/n7?format=car")
    assert found[0] == str(root)
    assert found[-1] == str(files[7].cid)
    assert set(found) < {*cids(shards), str(files[7].cid)}
    assert len(await sent(gate, f"{root}?format=car")) == len(set(cids(shards + files)))


async def test_links_of_other_codecs_are_followed(gate: Running) -> None:
    data = codecs.encode(DAG_CBOR, {"a": LEAVES[0].cid, "b": [FILE.cid, Cid.parse("bafkqaaa")]})
    node = Block(Cid.of(data, DAG_CBOR), data)
    await gate.add_blocks(*ALL_OF_FILE, node)
    found = await sent(gate, f"{node.cid}?format=car")
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


async def test_the_etag_is_of_the_content_and_the_parameters(gate: Running) -> None:
    await gate.add_blocks(*ALL_OF_FILE)
    target = f"/ipfs/{FILE.cid}"
    queries = (
        "",
        "&dag-scope=block",
        "&dag-scope=entity",
        "&entity-bytes=0:4",
        "&entity-bytes=0:5",
        "&car-dups=y",
    )
    heads = [await gate.ask("HEAD", f"{target}?format=car{query}") for query in queries]
    etags = [head.headers["ETag"] for head in heads]
    assert len(set(etags)) == len(queries)
    assert all(etag.startswith(f'W/"{FILE.cid}.car.') for etag in etags)
    assert (await gate.ask("HEAD", f"{target}/?format=car&filename=x")).headers["ETag"] == etags[0]


@pytest.mark.parametrize(
    "query",
    ["dag-scope=some", "entity-bytes=5", "car-version=2", "car-order=bfs", "car-dups=maybe"],
)
async def test_parameters_that_mean_nothing(gate: Running, query: str) -> None:
    await gate.add_blocks(*ALL_OF_FILE)
    assert (await gate.get(f"/ipfs/{FILE.cid}?format=car&{query}")).status == 400


@pytest.mark.parametrize("outside", ["40:50", "40:*", "-60:-41"])
async def test_a_range_outside_is_refused(gate: Running, outside: str) -> None:
    await gate.add_blocks(*ALL_OF_FILE)
    refused = await gate.get(f"/ipfs/{FILE.cid}?format=car&entity-bytes={outside}")
    assert (refused.status, "40 bytes" in refused.text) == (400, True)


async def test_the_probe(gate: Running) -> None:
    """Trustless gateway spec, "Dedicated Probe Paths": a CAR of that root, and no block in it."""
    answer = await gate.get("/ipfs/bafkqaaa?format=car")
    assert (answer.status, read(answer.body)) == (200, (["bafkqaaa"], []))


async def shown(
    blocks: MemoryBlocks, path: str, query: str = "", *, accept: bool = False, **parameters: str
) -> Representation:
    """Without a server, for what none can show."""
    parsed = ContentPath.parse(path)
    wanted = ContentRequest(
        path=parsed, wanted=Wanted(Format.CAR, parameters, by_accept=accept), raw_path=path, query=query
    )
    return await represent_car(blocks, wanted, await resolve(NoNames(), blocks, parsed))


async def test_the_etag_follows_a_name_to_its_new_content() -> None:
    other, more = blocks_of(b"newer", small())
    blocks = MemoryBlocks([*ALL_OF_FILE, *more])
    path = ContentPath.parse("/ipns/example.org")
    wanted = ContentRequest(path=path, wanted=Wanted(Format.CAR), raw_path=str(path), query="")
    etags = set()
    for root in (FILE.cid, other.cid):
        found = await resolve(NoNames(), blocks, ContentPath.parse(f"/ipfs/{root}"))
        answer = await represent_car(blocks, wanted, replace(found, mutable=True, ttl=60))
        etags.add(answer.etag)
        assert f'filename="{root}.car"' in answer.headers["Content-Disposition"]
    assert len(etags) == 2


async def test_the_address_of_this_very_answer() -> None:
    blocks = MemoryBlocks(ALL_OF_FILE)
    plain = await shown(blocks, f"/ipfs/{FILE.cid}", "a=1&car-order=unk", accept=True, dups="y")
    assert plain.headers["Content-Location"] == (
        f"/ipfs/{FILE.cid}?a=1&car-order=unk&format=car&car-version=1&car-dups=y"
    )
    assert "Content-Location" not in (await shown(blocks, f"/ipfs/{FILE.cid}", "format=car")).headers


async def test_little_is_read_before_it_is_wanted() -> None:
    leaves = [raw_leaf(bytes([number]) * 200_000) for number in range(100)]
    root = directory(*((f"{number:03}", leaf) for number, leaf in enumerate(leaves)))
    blocks = Watched([*leaves, root])
    answer = await shown(blocks, f"/ipfs/{root.cid}")
    assert set(blocks.asked) == {root.cid}
    before = len(blocks.asked)
    assert answer.read is not None
    async with aclosing(answer.read(0, TO_THE_END)) as pieces:
        for _ in range(3):
            await anext(pieces)
    assert len(blocks.asked) - before < 20
    assert len(asyncio.all_tasks()) == 1
