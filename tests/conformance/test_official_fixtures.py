"""The DAGs of the official conformance suite, imported as an operator would, and asked for as it asks."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from ipld import dag_pb
from ipld.car import CarParser
from ipld.cid import DAG_PB, RAW, Cid
from tests.fixture_data import FIXTURES, needs_fixtures
from tests.gateway.gateways import Running, running

pytestmark = needs_fixtures

SUITE = FIXTURES / "gateway-conformance"
CARS = sorted(SUITE.rglob("*.car"))


def sections(path: Path) -> dict[str, bytes]:
    parser = CarParser()
    found = {str(section.cid): section.data for section in parser.feed(path.read_bytes())}
    parser.close()
    return found


def root_of(name: str) -> str:
    parser = CarParser()
    list(parser.feed((SUITE / name).read_bytes()))
    assert parser.roots
    return str(parser.roots[0])


def car_blocks(body: bytes) -> list[str]:
    parser = CarParser()
    found = [str(section.cid) for section in parser.feed(body)]
    parser.close()
    return found


@pytest_asyncio.fixture
async def suite() -> AsyncIterator[Running]:
    async with running() as gate:
        for path in CARS:
            kind = "application/vnd.ipld.car"
            answer = await gate.write("POST", "/ipfs/?partial=true", path.read_bytes(), Content_Type=kind)
            assert answer.status == 201, (path, answer)
        yield gate


async def test_every_block_is_here_and_the_same(suite: Running) -> None:
    for path in CARS:
        for cid, data in sections(path).items():
            answer = await suite.get(f"/ipfs/{cid}?format=raw")
            assert (answer.status, answer.body) == (200, data), cid


async def test_every_block_has_a_car_of_its_own(suite: Running) -> None:
    for path in CARS:
        for cid in sections(path):
            if not Cid.parse(cid).is_identity:
                body = (await suite.get(f"/ipfs/{cid}?format=car&dag-scope=block")).body
                assert car_blocks(body) == [cid]


async def test_a_file_of_which_a_block_is_missing(suite: Running) -> None:
    name = "trustless_gateway_car/file-3k-and-3-blocks-missing-block.car"
    held = sections(SUITE / name)
    root = next(
        cid for cid, data in held.items() if Cid.parse(cid).codec == DAG_PB and dag_pb.decode(data).links
    )
    first, missing, last = (str(link.cid) for link in dag_pb.decode(held[root]).links)
    assert missing not in held
    for query, expected in [("0:1000", [root, first]), ("2200:*", [root, last])]:
        answer = await suite.get(f"/ipfs/{root}?format=car&dag-scope=entity&entity-bytes={query}")
        assert car_blocks(answer.body) == expected
    for wanted in ("bytes=0-1000", "bytes=2200-", "bytes=-5"):
        assert (await suite.get(f"/ipfs/{root}", Range=wanted)).status == 206
    assert (await suite.get(f"/ipfs/{root}", Range="bytes=1000-1100")).status == 404


async def test_the_listing_as_the_suite_looks_for_it(suite: Running) -> None:
    root = root_of("dir_listing/fixtures.car")
    page = (await suite.get(f"/ipfs/{root}/ą/ę/".replace("ą", "%C4%85").replace("ę", "%C4%99"))).text
    assert "Index of" in page
    base = f"/ipfs/{root}/%C4%85"
    crumbs = f'/ipfs/<a href="/ipfs/{root}">{root}</a>/<a href="{base}">ą</a>/<a href="{base}/%C4%99">ę</a>'
    assert crumbs in page
    assert f'<a href="{base}/%C4%99/..">..</a>' in page
    assert f'<a href="{base}/%C4%99/file-%C5%BA%C5%82.txt">file-źł.txt</a>' in page
    assert "?filename=file-%25C5%25BA%25C5%2582.txt" in page


async def test_tars_that_stay_inside_and_that_do_not(suite: Running) -> None:
    inside = root_of("path_gateway_tar/inside-root.car")
    body = (await suite.get(f"/ipfs/{inside}?format=tar")).body
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        assert f"{inside}/foobar/file" in archive.getnames()
    outside = root_of("path_gateway_tar/outside-root.car")
    assert 400 <= (await suite.get(f"/ipfs/{outside}?format=tar")).status < 600


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("path_gateway_dag/plain-json.car", "application/json"),
        ("path_gateway_dag/plain-cbor.car", "application/cbor"),
        ("path_gateway_dag/dag-json-traversal.car", "application/vnd.ipld.dag-json"),
        ("path_gateway_dag/dag-cbor-traversal.car", "application/vnd.ipld.dag-cbor"),
    ],
)
async def test_codecs_are_served_as_they_are(suite: Running, name: str, media_type: str) -> None:
    root = root_of(name)
    answer = await suite.get(f"/ipfs/{root}")
    assert answer.headers["Content-Type"] == media_type
    assert answer.body == sections(SUITE / name)[root]


async def test_a_symlink_is_its_target(suite: Running) -> None:
    held = sections(SUITE / "path_gateway_unixfs/symlink.car")
    bodies = []
    for cid in held:
        if Cid.parse(cid).codec in (DAG_PB, RAW):
            answer = await suite.get(f"/ipfs/{cid}")
            if answer.headers.get("Content-Type") == "inode/symlink":
                bodies.append(answer.body)
    assert bodies == [b"foo"]


async def test_what_is_missing_and_may_only_come_from_here(suite: Running) -> None:
    missing = "/ipfs/QmYzfKSE55XCjD1MW128RfciAf2DViABhEiXfgVFMabSjN"
    assert (await suite.get(missing, Cache_Control="only-if-cached")).status == 412
