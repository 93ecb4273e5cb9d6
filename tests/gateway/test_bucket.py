"""A gateway over a bucket, as a process of its own: what its clients and its operator see."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from storage.s3 import open_s3
from tests.gateway.processes import Served, command
from tests.storage import filebase_double as double
from tests.storage import s3_servers
from tests.storage.filebase_double import FilebaseDouble, filebase_at, published
from tests.storage.stores import store

MIB = 1024 * 1024
PATIENT = {"S3_TIMEOUT": "20s", "FILEBASE_CID_TIMEOUT": "20s"}


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with s3_servers.moto_server() as url:
        yield url


DATABASE: list[str] = []


@pytest.fixture(autouse=True)
def empty_database(database: str) -> Iterator[None]:
    """Of the server that the tests share, which takes less time than one of each gateway's own."""
    DATABASE[:] = [database]
    yield
    DATABASE.clear()


def settings_of(url: str, bucket: str) -> dict[str, str]:
    return {
        "DATABASE_URL": DATABASE[0],
        "FILEBASE_ENDPOINT_URL": url,
        "FILEBASE_BUCKET_NAME": bucket,
        "FILEBASE_IPFS_API_KEY": s3_servers.KEY_ID,
        "FILEBASE_IPFS_API_SECRET": s3_servers.SECRET,
        **PATIENT,
    }


class Gateway:
    """Asked from another thread: the double answers in this one."""

    def __init__(self, served: Served) -> None:
        self.served = served

    async def ask(
        self, method: str, target: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        return await asyncio.to_thread(self.served.ask, method, target, body, headers)

    async def json(self, method: str, target: str, body: bytes | None = None) -> dict[str, object]:
        found = json.loads((await self.ask(method, target, body))[2])
        assert isinstance(found, dict)
        return found

    async def figure(self, name: str) -> float:
        text = (await self.ask("GET", "/metrics"))[2].decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


@asynccontextmanager
async def gateway(
    moto: str, folder: Path, options: dict[str, object] | None = None, **settings: str
) -> AsyncIterator[tuple[Gateway, FilebaseDouble]]:
    async with filebase_at(moto, **(options or {})) as proxy:
        account = s3_servers.account_of(proxy.url)
        await s3_servers.make_bucket(account)
        named = settings_of(proxy.url, account.bucket) | settings
        served = await asyncio.to_thread(lambda: Served(folder, **named))
        try:
            yield Gateway(served), proxy
        finally:
            await asyncio.to_thread(served.end)


async def test_a_bucket_of_filebase(moto: str, tmp_path: Path) -> None:
    data = os.urandom(9 * MIB + 11)
    async with gateway(moto, tmp_path) as (asked, _):
        assert "bucket b-" in asked.served.block
        answer = await asked.json("PUT", "/ipfs/a.bin", data)
        cid = str(published(data))
        assert (answer["cid"], answer["filebase_cid"], answer["profile"]) == (cid, cid, "unixfs-v0-2015")
        status, headers, body = await asked.ask("GET", f"/ipfs/{cid}")
        assert (status, body) == (200, data)
        assert headers["Content-Length"] == str(len(data))
        status, headers, body = await asked.ask("GET", f"/ipfs/{cid}", Range="bytes=4000000-8000000")
        assert (status, body) == (206, data[4_000_000:8_000_001])
        other = await asked.json("POST", "/ipfs/?profile=unixfs-v1-2025", data)
        assert (other["cid"], other["filebase_cid"]) != (cid, cid)
        assert other["filebase_cid"] == cid
        ready = await asked.json("GET", "/readyz")
        assert ready["storage"] == {"bucket": "IPFS", "breaker": "closed"}
        assert await asked.figure('cidgate_filebase_cids_total{outcome="different"}') == 1
        assert (await asked.ask("DELETE", f"/ipfs/{cid}"))[0] == 204


async def test_everything_as_cars(moto: str, tmp_path: Path) -> None:
    async with gateway(moto, tmp_path, FILEBASE_IMPORT="car") as (asked, proxy):
        answer = await asked.json("POST", "/ipfs/", b"data" * 1000)
        assert (answer["filebase_cid"], answer["profile"]) == (answer["cid"], "unixfs-v1-2025")
        assert (await asked.ask("GET", str(answer["path"])))[2] == b"data" * 1000
        proxy.wrong_cid = str(published(b"another"))
        status, _, body = await asked.ask("POST", "/ipfs/", b"other" * 1000)
        assert (status, json.loads(body)["error"]["reason"]) == (502, "NOT_PUBLISHED")


async def test_a_plain_bucket_whose_server_goes_away(moto: str, tmp_path: Path) -> None:
    settings = {
        "CACHE_MEMORY_BYTES": "0",
        "CIRCUIT_BREAKER_FAIL_MAX": "2",
        "CIRCUIT_BREAKER_RESET_TIMEOUT": "6s",
        # No CID will come, and it is found out once.
        "FILEBASE_CID_TIMEOUT": "1s",
    }
    async with gateway(moto, tmp_path, {"gives_cids": False}, **settings) as (asked, proxy):
        answer = await asked.json("POST", "/ipfs/", os.urandom(2 * MIB))
        assert "filebase_cid" not in answer
        ready = await asked.json("GET", "/readyz")
        assert ready["storage"] == {"bucket": "plain S3 (gives no CIDs)", "breaker": "closed"}
        fault = proxy.fail(double.page(502), times=1000)
        reads = [asked.ask("GET", f"{answer['path']}?format={kind}") for kind in ("car", "tar", "zip")]
        assert {status for status, _, _ in await asyncio.gather(*reads)} == {503}
        asked_for = len(proxy.requests)
        status, headers, body = await asked.ask("GET", str(answer["path"]))
        assert (status, len(proxy.requests)) == (503, asked_for), "it is left alone"
        assert 1 <= int(headers["Retry-After"]) <= 6
        status, headers, body = await asked.ask("POST", "/ipfs/", b"more")
        assert (status, json.loads(body)["error"]["reason"]) == (503, "STORE_UNAVAILABLE")
        assert await asked.figure("cidgate_store_breaker_open ") == 1
        status, _, body = await asked.ask("GET", "/readyz")
        assert status == 503
        assert json.loads(body)["storage"]["breaker"] == "open"
        fault.times = 0
        await asyncio.sleep(6.2)
        assert (await asked.ask("GET", str(answer["path"])))[0] == 200
        assert await asked.figure("cidgate_store_breaker_open ") == 0
        assert (await asked.json("GET", "/readyz"))["status"] == "ok"


async def test_reindex_of_a_bucket(moto: str, tmp_path: Path) -> None:
    data = os.urandom(100_000)
    async with filebase_at(moto) as proxy:
        account = s3_servers.account_of(proxy.url)
        await s3_servers.make_bucket(account)
        settings = settings_of(proxy.url, account.bucket)
        async with open_s3(account) as theirs:
            await store(theirs, "photos/cat.jpg", data)
        done = await asyncio.to_thread(lambda: command(tmp_path, "reindex", **settings))
        assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "1 objects were added to the index.")
        again = await asyncio.to_thread(lambda: command(tmp_path, "reindex", **settings))
        assert again.stderr.splitlines()[-1] == "0 objects were added to the index."
        served = await asyncio.to_thread(lambda: Served(tmp_path, **settings))
        try:
            answer = await Gateway(served).ask("GET", f"/ipfs/{published(data)}")
            assert answer[2] == data
        finally:
            await asyncio.to_thread(served.end)


async def test_a_wrong_setting_is_said_at_start(moto: str, tmp_path: Path) -> None:
    settings = settings_of(moto, "no-such-bucket")
    done = await asyncio.to_thread(lambda: command(tmp_path, "serve", **settings))
    assert done.returncode == 1
    assert "FILEBASE_BUCKET_NAME=no-such-bucket" in done.stderr
    assert "NoSuchBucket" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.needs_versitygw
async def test_a_wrong_secret_is_said_at_start(tmp_path: Path) -> None:
    binary = s3_servers.versitygw()
    if binary is None:
        pytest.skip("no versitygw on the PATH, nor in VERSITYGW")
    with s3_servers.versity_server(binary, tmp_path / "versitygw") as url:
        account = s3_servers.account_of(url)
        await s3_servers.make_bucket(account)
        settings = settings_of(url, account.bucket) | {"FILEBASE_IPFS_API_SECRET": "wrong"}
        done = await asyncio.to_thread(lambda: command(tmp_path, "serve", **settings))
    assert done.returncode == 1
    assert "SignatureDoesNotMatch" in done.stderr


async def test_it_starts_while_the_bucket_is_away(tmp_path: Path) -> None:
    settings = settings_of("http://127.0.0.1:1", "bucket") | {"S3_CONNECT_TIMEOUT": "1s"}
    served = await asyncio.to_thread(lambda: Served(tmp_path, **settings))
    try:
        assert "Read " not in served.block
        assert (await Gateway(served).ask("GET", "/healthz"))[0] == 200
        status, _, body = await Gateway(served).ask("GET", "/readyz")
        assert (status, json.loads(body)["storage"]["bucket"]) == (503, "not known yet")
    finally:
        await asyncio.to_thread(served.end)
