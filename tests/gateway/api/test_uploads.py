"""Uploads straight into a bucket and downloads out of it, over real S3 servers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from auth.keys import KeyRequest, Scope
from config.settings import Settings
from gateway import listen
from gateway.api.uploads import shortened
from gateway.context import Gateway
from gateway.headers import content_disposition_name
from gateway.server import serving
from gateway.wiring import open_gateway
from ipld.blocks import Buffer
from ipld.cid import RAW, Cid
from ipld.unixfs.profiles import UNIXFS_V0_2015
from storage.direct_uploads import DirectUpload
from storage.index import BlockRow, Layout, NewObject, NewUpload
from storage.objects import INCOMING
from storage.s3 import S3Objects, open_s3
from tests.gateway.gateways import Answer, Running
from tests.ipld.dags import blocks_of
from tests.storage.conftest import VERSITY
from tests.storage.conftest import moto as moto  # noqa: PLC0414 - fixtures
from tests.storage.conftest import versity as versity  # noqa: PLC0414
from tests.storage.filebase_double import filebase_at
from tests.storage.s3_servers import LIMITS, SOON, account_of, make_bucket

ALL = frozenset({Scope.READ, Scope.UPLOAD, Scope.DELETE})
BODY = b"straight into the bucket" * 1000


@dataclass
class Direct:
    """A gateway over a bucket, and what its clients do."""

    gateway: Gateway
    bucket: S3Objects
    url: str
    key: str
    session: aiohttp.ClientSession

    async def api(
        self, method: str, path: str, body: object = None, key: str | None = None, raw: bytes | None = None
    ) -> Answer:
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {key or self.key}"}
        url = f"{self.url}{path}" if path.startswith("/ipfs/") else f"{self.url}/api/v1{path}"
        async with self.session.request(method, url, data=data, headers=headers) as response:
            return Answer(response.status, response.headers.copy(), await response.read())

    async def presign(self, size: int = len(BODY), **more: object) -> dict[str, object]:
        answer = await self.api("POST", "/uploads/presign", {"size": size, **more})
        assert answer.status == 201, answer
        return answer.json

    async def put(self, address: dict[str, object], body: bytes = BODY, **changed: str) -> int:
        headers = {**address["headers"], **changed}  # type: ignore[dict-item]
        url = URL(str(address["url"]), encoded=True)
        async with self.session.put(url, data=body, headers=headers) as response:
            return response.status

    async def complete(self, upload: object, key: str | None = None) -> Answer:
        return await self.api("POST", "/uploads/complete", {"id": upload}, key)

    async def get(self, url: object) -> Answer:
        async with self.session.get(URL(str(url), encoded=True)) as response:
            return Answer(response.status, response.headers.copy(), await response.read())

    async def keys(self) -> list[str]:
        """Of content: the gateway tries the bucket out under a key of its own."""
        return [info.key async for info in self.bucket.list() if not info.key.startswith("cidgate/")]


@asynccontextmanager
async def opened(url: str, database: str, data: Path, largest: str = "1MiB") -> AsyncIterator[Direct]:
    account = account_of(url)
    await make_bucket(account)
    settings = Settings.from_env(
        {
            "DATABASE_URL": database,
            "DATA_DIR": str(data),
            "FILEBASE_ENDPOINT_URL": account.endpoint_url,
            "FILEBASE_IPFS_API_KEY": account.key_id,
            "FILEBASE_IPFS_API_SECRET": account.secret,
            "FILEBASE_BUCKET_NAME": account.bucket,
            "MAX_UPLOAD_BYTES": largest,
            # No wait for a CID that no server here gives.
            "FILEBASE_CID_TIMEOUT": "200ms",
        }
    )
    with listen.bind("127.0.0.1", 0) as bound:
        async with (
            open_gateway(settings) as gateway,
            serving(gateway, bound),
            open_s3(account, LIMITS, SOON) as bucket,
            aiohttp.ClientSession() as session,
        ):
            key = (await gateway.keys.create(KeyRequest("uploader", ALL))).secret
            url = f"http://127.0.0.1:{bound.getsockname()[1]}"
            yield Direct(gateway, bucket, url, key, session)


@pytest_asyncio.fixture(params=["moto", VERSITY])
async def direct(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> AsyncIterator[Direct]:
    url = request.getfixturevalue("moto" if request.param == "moto" else "versity")
    async with opened(url, database, tmp_path) as found:
        yield found


@pytest_asyncio.fixture
async def moto_direct(moto: str, database: str, tmp_path: Path) -> AsyncIterator[Direct]:
    """For what does not depend on the server: the one that is always there."""
    async with opened(moto, database, tmp_path) as found:
        yield found


@pytest_asyncio.fixture
async def versity_direct(versity: str, database: str, tmp_path: Path) -> AsyncIterator[Direct]:
    """For what only a server that checks signatures does."""
    async with opened(versity, database, tmp_path) as found:
        yield found


async def test_up_and_down_again(direct: Direct) -> None:
    address = await direct.presign(name="a b.bin", content_type="image/png", expires_in="7d")
    assert str(address["url"]).startswith("http")
    query = parse_qs(urlsplit(str(address["url"])).query)
    assert query["X-Amz-Expires"] == ["86400"]
    assert set(query["X-Amz-SignedHeaders"][0].split(";")) == {"content-length", "content-type", "host"}
    assert await direct.put(address) == 200
    [incoming] = await direct.keys()
    assert incoming.startswith(INCOMING)
    done = await direct.complete(address["id"])
    assert done.status == 201, done
    file = done.json
    # The profile of a bucket of Filebase, which cuts files so by itself.
    assert file["cid"] == str(blocks_of(BODY, UNIXFS_V0_2015)[0].cid)
    assert (file["name"], file["size"]) == ("a b.bin", len(BODY))
    assert file["expires_at"] is not None
    assert (await direct.api("GET", f"/ipfs/{file['cid']}")).body == BODY
    [stored] = await direct.keys()
    assert not stored.startswith(INCOMING)
    # A client that has not heard of it may ask again.
    again = await direct.complete(address["id"])
    assert (again.status, again.json) == (200, file)

    found = (await direct.api("GET", f"/files/{file['id']}/url?hours=168")).json
    got = await direct.get(found["url"])
    assert (got.status, got.body) == (200, BODY)
    assert got.headers["Content-Disposition"].startswith('attachment; filename="a b.bin"')

    assert (await direct.api("DELETE", f"/files/{file['id']}")).status == 204
    assert await direct.keys() == []
    assert (await direct.complete(address["id"])).reason == "CONFLICT"


async def test_an_empty_file(direct: Direct) -> None:
    address = await direct.presign(0)
    assert await direct.put(address, b"") == 200
    assert (await direct.complete(address["id"])).json["size"] == 0


async def test_the_address_cannot_change_what_was_completed(direct: Direct) -> None:
    """Others may rest on the same content by then."""
    address = await direct.presign()
    await direct.put(address)
    file = (await direct.complete(address["id"])).json
    assert await direct.put(address, b"?" * len(BODY)) == 200
    await direct.gateway.forget()
    assert (await direct.api("GET", f"/ipfs/{file['cid']}")).body == BODY
    assert (await direct.complete(address["id"])).json == file


async def test_what_never_comes_is_swept(direct: Direct) -> None:
    address = await direct.presign(hours=1)
    await direct.put(address)
    assert await direct.gateway.content.sweep(0) == 0, "the address is still good"
    assert len(await direct.keys()) == 1
    assert await direct.gateway.content.sweep(-3601) == 1
    assert await direct.keys() == []


async def test_what_comes_after_the_end_is_swept_too(direct: Direct) -> None:
    address = await direct.presign(hours=1)
    await direct.put(address)
    assert (await direct.complete(address["id"])).status == 201
    await direct.put(address)
    assert len(await direct.keys()) == 2
    assert await direct.gateway.content.sweep(-3601) == 1
    [stored] = await direct.keys()
    assert not stored.startswith(INCOMING)


# One gateway for all of them: opening one takes longer than asking it.
WRONG: list[tuple[object, int, str]] = [
    ({"size": 1, "hours": 0}, 400, "HOURS_OUT_OF_RANGE"),
    ({"size": 1, "hours": 169}, 400, "HOURS_OUT_OF_RANGE"),
    ({"size": 1, "hours": -1}, 400, "HOURS_OUT_OF_RANGE"),
    ({"size": 1, "hours": 1.5}, 400, "BAD_REQUEST"),
    ({"size": 1, "hours": True}, 400, "BAD_REQUEST"),
    ({"size": 1, "hours": None}, 400, "BAD_REQUEST"),
    ({"size": -1}, 400, "BAD_REQUEST"),
    ({"size": "1"}, 400, "BAD_REQUEST"),
    ({"size": (1 << 20) + 1}, 413, "PAYLOAD_TOO_LARGE"),
    ({"size": 10**100}, 413, "PAYLOAD_TOO_LARGE"),
    ({}, 400, "BAD_REQUEST"),
    ({"size": 1, "Size": 2}, 400, "BAD_REQUEST"),
    ({"size": 1, "content_type": "text/html\r\nX: y"}, 400, "BAD_REQUEST"),
    ({"size": 1, "content_type": "text"}, 400, "BAD_REQUEST"),
    ({"size": 1, "profile": "none"}, 400, "BAD_REQUEST"),
    ({"size": 1, "expires_in": 0}, 400, "BAD_REQUEST"),
    ({"size": 1, "expires_in": "1h", "temporary": True}, 400, "BAD_REQUEST"),
    ({"size": 1, "name": "x" * 501}, 400, "BAD_REQUEST"),
    ([], 400, "BAD_REQUEST"),
]
NO_JSON = [b"", b"{", b"[" * 60_000, b"\xff", b'{"size":' + b"9" * 9999 + b"}"]


async def test_what_is_no_upload(moto_direct: Direct) -> None:
    for fields, status, reason in WRONG:
        answer = await moto_direct.api("POST", "/uploads/presign", fields)
        assert (answer.status, answer.reason) == (status, reason), fields
    for raw in NO_JSON:
        for path in ("/uploads/presign", "/uploads/complete"):
            answer = await moto_direct.api("POST", path, raw=raw)
            assert (answer.status, answer.reason) == (400, "BAD_REQUEST"), raw
    too_long = await moto_direct.api("POST", "/uploads/presign", raw=b" " * 100_000)
    assert (too_long.status, too_long.reason) == (413, "PAYLOAD_TOO_LARGE")
    assert await moto_direct.gateway.content.sweep(-8 * 86400) == 0, "nothing was begun"


async def test_what_cannot_be_completed(moto_direct: Direct) -> None:
    direct = moto_direct
    for unknown in (str(uuid4()), "x", "", None, 5):
        answer = await direct.complete(unknown)
        assert answer.status in (400, 404)
    assert (await direct.complete(str(uuid4()))).reason == "UPLOAD_NOT_FOUND"
    address = await direct.presign()
    missing = await direct.complete(address["id"])
    assert (missing.status, missing.reason) == (409, "NOT_UPLOADED")
    # This server checks no signatures, and takes what another one would refuse.
    assert await direct.put(address, b"short", **{"Content-Length": "5"}) == 200
    wrong = await direct.complete(address["id"])
    assert (wrong.status, wrong.reason) == (409, "WRONG_SIZE")
    assert "24000 bytes were announced, and 5" in str(wrong.json)
    await direct.put(address)
    other = (await direct.gateway.keys.create(KeyRequest("other", ALL))).secret
    foreign = await direct.complete(address["id"], other)
    assert (foreign.status, foreign.reason) == (404, "UPLOAD_NOT_FOUND")
    assert (await direct.complete(address["id"])).status == 201


async def test_two_completions_at_once(moto_direct: Direct, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one finds nothing to read any more, since the first one is done: it is told the same."""
    direct = moto_direct.gateway.direct
    assert direct is not None
    address = await moto_direct.presign(name="a")
    await moto_direct.put(address)
    read, first = direct.read, []

    async def overtaken(upload: DirectUpload) -> AsyncIterator[Buffer]:
        monkeypatch.setattr(direct, "read", read)
        first.append(await moto_direct.complete(address["id"]))
        async for piece in read(upload):
            yield piece

    monkeypatch.setattr(direct, "read", overtaken)
    second = await moto_direct.complete(address["id"])
    assert (first[0].status, second.status) == (201, 200)
    assert second.json == first[0].json


async def test_filebase_says_its_cid(moto: str, database: str, tmp_path: Path) -> None:
    async with filebase_at(moto) as proxy, opened(proxy.url, database, tmp_path) as direct:
        address = await direct.presign()
        await direct.put(address)
        done = await direct.complete(address["id"])
        assert (done.status, done.json["filebase_cid"]) == (201, done.json["cid"])
        proxy.wrong_cid = "none"
        address = await direct.presign(3)
        await direct.put(address, b"new")
        assert (await direct.complete(address["id"])).json["filebase_cid"] is None


async def test_an_address_for_a_file_with_a_long_name(direct: Direct) -> None:
    name = "\N{GRINNING FACE}" * 496 + ".png"
    address = await direct.presign(name=name)
    await direct.put(address)
    file = (await direct.complete(address["id"])).json
    assert file["name"] == name
    found = (await direct.api("GET", f"/files/{file['id']}/url")).json
    assert len(str(found["url"])) < 4096
    got = await direct.get(found["url"])
    assert (got.status, got.body) == (200, BODY)
    said = content_disposition_name(got.headers["Content-Disposition"])
    assert said == "\N{GRINNING FACE}" * 62 + ".png"


@pytest.mark.parametrize("name", ["a" * 300, "a." + "b" * 300, "." + "\N{GRINNING FACE}" * 300])
def test_a_name_that_is_cut(name: str) -> None:
    cut = shortened(name)
    assert name.startswith(cut)
    assert 250 <= len(cut.encode()) <= 255


async def test_an_object_that_could_not_be_read_for_a_moment(moto_direct: Direct) -> None:
    """A read that once failed has marked it as damaged."""
    index = moto_direct.gateway.direct._index  # type: ignore[union-attr]
    file = (await moto_direct.api("POST", "/ipfs/", raw=BODY)).json
    stored = await index.find(Cid.parse(str(file["cid"])))
    assert stored is not None
    await index.mark_damaged(stored.object_id)
    found = await moto_direct.api("GET", f"/files/{file['id']}/url")
    assert found.status == 200, found
    assert (await moto_direct.get(found.json["url"])).body == BODY
    await moto_direct.bucket.delete(stored.key)
    missing = await moto_direct.api("GET", f"/files/{file['id']}/url")
    assert (missing.status, missing.reason) == (502, "BLOCK_CORRUPT")
    async with moto_direct.bucket.create(stored.key) as writer:
        await writer.write(b"shorter")
        await writer.commit(b"")
    assert (await moto_direct.api("GET", f"/files/{file['id']}/url")).reason == "BLOCK_CORRUPT"


async def test_no_address_for_what_others_may_change(moto_direct: Direct) -> None:
    index = moto_direct.gateway.direct._index  # type: ignore[union-attr]
    [key] = await moto_direct.gateway.keys.list()
    root = Cid.of(b"theirs", RAW)
    rows = [BlockRow(root.multihash, 0, 6)]
    theirs = NewObject("docs/report.txt", Layout.FILE, root, 6, rows, theirs=True)
    adopted = await index.adopt(theirs, NewUpload(key.id, root, "report.txt", 6))
    answer = await moto_direct.api("GET", f"/files/{adopted.kept[0].file_id}/url")
    assert (answer.status, answer.reason) == (409, "STORED_AS_CAR")
    assert "others" in str(answer.json)


async def test_an_address_that_has_ended(
    moto_direct: Direct, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = moto_direct.gateway.direct
    assert direct is not None
    address = await moto_direct.presign()
    await moto_direct.put(address)
    find = direct.find

    async def ended(owner: UUID, upload: UUID) -> object:
        found = await find(owner, upload)
        assert found is not None
        return replace(found, has_expired=True)

    monkeypatch.setattr(direct, "find", ended)
    answer = await moto_direct.complete(address["id"])
    assert (answer.status, answer.reason) == (410, "GONE")


@pytest.mark.needs_versitygw
async def test_the_server_takes_nothing_else(versity_direct: Direct) -> None:
    direct = versity_direct
    address = await direct.presign(content_type="image/png")
    assert await direct.put(address, BODY[:-1], **{"Content-Length": str(len(BODY) - 1)}) == 403
    assert await direct.put(address, BODY, **{"Content-Type": "text/html"}) == 403
    elsewhere = {**address, "url": str(address["url"]).replace(INCOMING, "files/")}
    assert await direct.put(elsewhere) == 403
    assert await direct.keys() == []
    assert await direct.put(address) == 200


async def test_a_file_that_is_no_object(moto_direct: Direct) -> None:
    cid = Cid.of(b"block", RAW)
    answer = await moto_direct.api("POST", "/ipfs/?format=raw", raw=b"block")
    file = answer.json["id"]
    assert (await moto_direct.api("GET", f"/files/{file}/url")).status == 200
    for hours in ("0", "169", "x", "1.5", "-1", ""):
        wrong = await moto_direct.api("GET", f"/files/{file}/url?hours={hours}")
        assert (wrong.status, wrong.reason) == (400, "HOURS_OUT_OF_RANGE")
    body = await moto_direct.api("PUT", f"/ipfs/{cid}?filename=dir", raw=b"block")
    root = (await moto_direct.api("DELETE", f"/ipfs/{cid}")).status
    assert (body.status, root) == (201, 204)


async def test_a_directory_has_no_address(moto_direct: Direct) -> None:
    form = aiohttp.FormData()
    form.add_field("file", b"1", filename="a")
    form.add_field("file", b"2", filename="b")
    headers = {"Authorization": f"Bearer {moto_direct.key}"}
    async with moto_direct.session.post(f"{moto_direct.url}/ipfs/", data=form, headers=headers) as response:
        file = (await response.json())["id"]
    answer = await moto_direct.api("GET", f"/files/{file}/url")
    assert (answer.status, answer.reason) == (409, "STORED_AS_CAR")


async def test_a_folder_has_no_addresses(gate: Running) -> None:
    created = (await gate.write("PUT", "/ipfs/a", b"a")).json["id"]
    for method, path in (
        ("POST", "/uploads/presign"),
        ("POST", "/uploads/complete"),
        ("GET", f"/files/{created}/url"),
    ):
        answer = await gate.write(method, f"/api/v1{path}", b"{}")
        assert (answer.status, answer.reason) == (501, "NOT_SUPPORTED")
        assert "folder" in str(answer.json)
