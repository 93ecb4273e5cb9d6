from __future__ import annotations

import pytest

from ipld.cid import RAW, Cid
from tests.gateway.gateways import Running
from tests.storage.test_car_import import ALL, LEAVES, LEFT, RIGHT, ROOT, WHOLE, archive
from tests.storage.test_tar_import import archive as tar_of
from tests.storage.test_tar_import import member

CAR = {"Content-Type": "application/vnd.ipld.car"}
TAR = {"Content-Type": "application/x-tar"}


async def test_a_car(gate: Running) -> None:
    answer = await gate.write("POST", "/ipfs/", WHOLE, **CAR)
    assert answer.status == 201, answer
    assert answer.cid == str(ROOT.cid)
    assert answer.headers["Location"] == f"/ipfs/{ROOT.cid}"
    assert answer.json["profile"] is None
    for block in ALL:
        assert (await gate.get(f"/ipfs/{block.cid}?format=raw")).body == block.data
    assert (await gate.write("DELETE", f"/ipfs/{ROOT.cid}")).status == 204
    assert await gate.nothing_stored()


async def test_put_requires_the_root(gate: Running) -> None:
    assert (await gate.write("PUT", f"/ipfs/{LEFT.cid}", WHOLE, **CAR)).status == 409
    assert await gate.nothing_stored()
    assert (await gate.write("PUT", f"/ipfs/{ROOT.cid}", WHOLE, **CAR)).status == 201
    assert (await gate.write("PUT", f"/ipfs/{ROOT.cid}", archive([], ALL), **CAR)).status == 201


async def test_roots(gate: Running) -> None:
    both = archive([LEFT, RIGHT], [LEFT, RIGHT, *LEAVES[:3]])
    answer = await gate.write("POST", f"/ipfs/?root={RIGHT.cid}", both, **CAR)
    assert answer.headers["X-Ipfs-Roots"] == f"{RIGHT.cid},{LEFT.cid}"
    for root in (LEFT, RIGHT):
        assert (await gate.write("DELETE", f"/ipfs/{root.cid}")).status == 204
    assert await gate.nothing_stored()


@pytest.mark.parametrize(
    ("query", "body", "status", "reason"),
    [
        ("", WHOLE[:-1], 400, "INVALID_CAR"),
        ("", b"", 400, "INVALID_CAR"),
        ("", archive([ROOT], ALL[:-1]), 422, "INCOMPLETE_CAR"),
        ("?partial=maybe", WHOLE, 400, "BAD_REQUEST"),
        ("?root=x", WHOLE, 400, "BAD_REQUEST"),
        (f"?root={Cid.of(b'other', RAW)}", WHOLE, 409, "CONFLICT"),
    ],
)
async def test_refused(gate: Running, query: str, body: bytes, status: int, reason: str) -> None:
    answer = await gate.write("POST", f"/ipfs/{query}", body, **CAR)
    assert (answer.status, answer.reason) == (status, reason)
    assert await gate.nothing_stored()


async def test_partial(gate: Running) -> None:
    answer = await gate.write("POST", "/ipfs/?partial=true", archive([ROOT], ALL[:-1]), **CAR)
    assert answer.cid == str(ROOT.cid)


async def test_a_tar(gate: Running) -> None:
    answer = await gate.write("POST", "/ipfs/", tar_of(member("d/f.txt", b"hello")), **TAR)
    assert answer.headers["Location"] == f"/ipfs/{answer.cid}/"
    assert (await gate.get(f"/ipfs/{answer.cid}/d/f.txt")).body == b"hello"


async def test_a_bad_tar(gate: Running) -> None:
    for body in (b"", b"x" * 600, tar_of(member("../x"))):
        answer = await gate.write("POST", "/ipfs/", body, **TAR)
        assert (answer.status, answer.reason) == (400, "INVALID_TAR")
        assert await gate.nothing_stored()
    assert (await gate.write("PUT", f"/ipfs/{ROOT.cid}", b"", **TAR)).status == 415
