"""`cidgate` as an operator runs it: real processes, real Postgres, real signals."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.gateway.processes import SECONDS, Served, children, command, lives, served, until

HELLO = b"hello\n"
KEY = "a-key-that-was-chosen-by-the-operator"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One gateway for all tests that do not end it."""
    with served(tmp_path_factory.mktemp("shop"), LOG_FORMAT="json") as running:
        yield running


def test_the_start_block_says_all_that_is_needed(shop: Served) -> None:
    assert len(re.findall(re.escape(shop.key), shop.block)) == 2
    sample = re.search(r"curl -L (http\S+)", shop.block)
    assert sample is not None
    status, body = shop.get(sample[1].removeprefix(shop.url))
    assert (status, body[:6]) == (200, b"Hello!")
    assert sample[1].encode() in shop.get("/")[1]
    assert shop.block.rstrip().endswith("(Ctrl-C stops)")
    assert shop.get("/readyz")[0] == 200


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
def test_curl_uploads(shop: Served, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(HELLO)
    for arguments, given in [
        (["-T", "photo.jpg"], b""),
        (["-T", "-"], HELLO),
        (["-F", "file=@photo.jpg"], b""),
    ]:
        done = subprocess.run(
            ["curl", "-sS", *arguments, "-H", f"Authorization: Bearer {shop.key}", f"{shop.url}/ipfs/"],
            cwd=tmp_path, input=given, capture_output=True, timeout=20, check=True,
        )  # fmt: skip
        assert json.loads(done.stdout)["cid"] == "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am"


def test_keys_beside_a_running_server(shop: Served) -> None:
    made = command(shop.data, "keys", "create", "visitor", "--scope", "upload")
    assert made.returncode == 0, made.stderr
    headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
    assert shop.ask("PUT", "/ipfs/x", HELLO, headers)[0] == 201
    assert shop.ask("DELETE", "/ipfs/x", None, headers)[0] == 403
    listed = command(shop.data, "keys", "list").stdout
    assert "visitor" in listed
    assert made.stdout.strip() not in listed
    assert command(shop.data, "keys", "revoke", "visitor").returncode == 0
    time.sleep(1)
    assert shop.ask("PUT", "/ipfs/x", HELLO, headers)[0] == 401


def test_import_sweep_and_reindex_beside_it(shop: Served, tmp_path: Path) -> None:
    (tmp_path / "site" / "sub").mkdir(parents=True)
    (tmp_path / "site" / "index.html").write_text("<p>hi")
    (tmp_path / "site" / "sub" / "a.txt").write_bytes(HELLO)
    (tmp_path / "site" / "link").symlink_to("sub/a.txt")
    done = command(shop.data, "import", str(tmp_path / "site"), str(tmp_path / "site" / "sub" / "a.txt"))
    assert done.returncode == 0, done.stderr
    root, file = (line.split()[0] for line in done.stdout.splitlines())
    assert shop.get(f"/ipfs/{root}/")[1] == b"<p>hi"
    assert shop.get(f"/ipfs/{root}/sub/a.txt")[1] == shop.get(f"/ipfs/{file}")[1] == HELLO
    assert shop.get(f"/ipfs/{root}/link")[1] == b"sub/a.txt"
    for arguments in (["sweep"], ["reindex"]):
        done = command(shop.data, *arguments)
        assert done.returncode == 0, done.stderr
    assert shop.get(f"/ipfs/{root}/")[1] == b"<p>hi"
    assert command(shop.data, "healthcheck", GATEWAY_PORT=shop.url.rpartition(":")[2]).returncode == 0
    assert command(shop.data, "healthcheck", GATEWAY_PORT="1").returncode == 1


def test_the_access_log_as_json(shop: Served) -> None:
    cid = shop.put("logged", b"a line in the log")
    for _ in range(2):
        shop.get(f"/ipfs/{cid}")
    until(lambda: shop.access_log.count(f'"/ipfs/{cid}"') == 2)
    lines = [json.loads(line) for line in shop.access_log.splitlines()]
    put = next(line for line in lines if line["target"] == "/ipfs/logged")
    assert (put["status"], put["key"], put["method"]) == (201, "first", "PUT")
    first, second = (line for line in lines if line["target"] == f"/ipfs/{cid}")
    assert (first["status"], first["bytes"], first["source"]) == (200, 17, "store")
    assert (second["bytes"], second["source"], second["key"]) == (17, "memory", "-")
    assert put["ms"] > 0
    assert shop.key not in shop.access_log


def test_a_busy_port_names_its_setting(shop: Served) -> None:
    port = shop.url.rpartition(":")[2]
    done = command(shop.data, "serve", GATEWAY_PORT=port)
    assert done.returncode == 1
    assert "GATEWAY_PORT" in done.stderr
    assert port in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_settings_are_named_all_at_once(tmp_path: Path) -> None:
    done = command(tmp_path, "serve", GATEWAY_PORT="x", MAX_UPLOAD_BYTES="-1", LOG_FORMAT="xml")
    assert done.returncode == 1
    for name in ("GATEWAY_PORT", "MAX_UPLOAD_BYTES", "LOG_FORMAT"):
        assert name in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_index_that_was_lost_is_rebuilt(tmp_path: Path) -> None:
    with served(tmp_path) as running:
        cid = running.put("x", HELLO * 400_000)
    shutil.rmtree(tmp_path / "postgres")
    done = command(tmp_path, "reindex")
    assert done.returncode == 0, done.stderr
    with served(tmp_path) as running:
        assert running.get(f"/ipfs/{cid}") == (200, HELLO * 400_000)


def slow_put(url: str, key: str) -> tuple[socket.socket, int]:
    """An upload that has begun, and the length that it still lacks."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    head = f"PUT /ipfs/slow HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Length: 10\r\n\r\n12345"
    connection.sendall(head.encode())
    return connection, 5


def test_a_stop_lets_transfers_end_and_lets_nothing_new_in(tmp_path: Path) -> None:
    with served(tmp_path, SHUTDOWN_GRACE="60s") as running:
        connection, _ = slow_put(running.url, running.key)
        with connection:
            time.sleep(0.3)
            running.process.send_signal(signal.SIGTERM)
            until(lambda: running.get("/readyz")[0] == 503)
            status, headers, _ = running.ask("GET", "/ipfs/bafkqaaa")
            assert (status, headers["Retry-After"]) == (503, "5")
            assert running.get("/healthz")[0] == 200
            connection.sendall(b"67890")
            assert connection.recv(4096).startswith(b"HTTP/1.1 201 ")
        assert running.process.wait(SECONDS) == 0
        assert " PUT /ipfs/slow 201 " in running.access_log


def test_a_stop_does_not_wait_for_ever(tmp_path: Path) -> None:
    with served(tmp_path, SHUTDOWN_GRACE="500ms") as running:
        connection, _ = slow_put(running.url, running.key)
        with connection:
            time.sleep(0.3)
            began = time.monotonic()
            assert running.end() == 0
            assert time.monotonic() - began < 20, "less than the grace of the default"
    # The sample alone.
    assert len([path for path in (tmp_path / "objects").rglob("*") if path.is_file()]) == 1


def test_the_first_call_works_where_hosts_are_strict_and_blocks_are_all(tmp_path: Path) -> None:
    with served(tmp_path, STRICT_HOSTS="true", DESERIALIZED_RESPONSES="false") as running:
        read = re.search(r'Read     curl -L "http://(localhost:\d+)/ipfs/(\w+)\?format=raw"', running.block)
        assert read
        host, cid = read.groups()

        def status(target: str, of: str) -> int:
            return running.ask("GET", target, headers={"Host": of})[0]

        assert status(f"/ipfs/{cid}?format=raw", host.replace("localhost", "127.0.0.1")) == 404
        # Where curl is sent next; it knows that every name under localhost is this machine.
        assert status("/?format=raw", f"{cid}.ipfs.{host}") == 200
        assert status("/", f"{cid}.ipfs.{host}") == 400, "nothing is to be believed there"
        page = running.ask("GET", "/", headers={"Host": host})[2].decode()
        assert f'curl -L "http://{host}/ipfs/{cid}?format=raw"' in page


def test_a_bootstrap_key_that_can_be_none_is_said_before_anything_is_made(tmp_path: Path) -> None:
    done = command(tmp_path, "serve", BOOTSTRAP_API_KEY="cidgate_review5_0123456789abcdef")
    assert done.returncode == 1
    assert "BOOTSTRAP_API_KEY begins with cidgate_" in done.stderr
    assert not list(tmp_path.iterdir())


def test_several_workers(tmp_path: Path) -> None:
    with served(tmp_path, "--workers", "2") as running:
        cid = running.put("x", HELLO)
        with ThreadPoolExecutor(8) as pool:
            assert {running.get(f"/ipfs/{cid}") for _ in range(3)} == {(200, HELLO)}
            assert set(pool.map(lambda _: running.get(f"/ipfs/{cid}")[0], range(40))) == {200}
        until(lambda: _counted(running) >= 43)
        workers = _workers(running.process.pid)
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        until(lambda: len(set(_workers(running.process.pid)) - {workers[0]}) == 2)
        until(lambda: _gets(running, cid))
        fresh = _workers(running.process.pid)
        running.process.send_signal(signal.SIGKILL)
        running.process.wait(10)
        until(lambda: not any(map(lives, fresh)))


def _gets(running: Served, cid: str) -> bool:
    try:
        return running.get(f"/ipfs/{cid}") == (200, HELLO)
    except OSError:
        return False


def _workers(parent: int) -> list[int]:
    found = []
    for child in children(parent):
        line = Path(f"/proc/{child}/cmdline")
        if lives(child) and b"worker" in line.read_bytes():
            found.append(child)
    return found


def _counted(running: Served) -> int:
    text = running.get("/metrics")[1].decode()
    match = re.search(r'ipfs_http_gw_responses_total\{code="200"\} (\d+)', text)
    return int(match[1]) if match else 0


def test_two_gateways_on_one_database(tmp_path: Path, postgres: str, migrated_template: str) -> None:
    import asyncio

    from tests.database import fresh_database

    async def work() -> None:
        async with fresh_database(postgres, migrated_template) as dsn:
            await asyncio.to_thread(_two_gateways, tmp_path, dsn)

    asyncio.run(work())


def _two_gateways(tmp_path: Path, dsn: str) -> None:
    shared = {"DATABASE_URL": dsn, "BOOTSTRAP_API_KEY": KEY}
    started: dict[str, Served] = {}
    folder = tmp_path / "shared"
    folder.mkdir()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "objects").symlink_to(folder)

    def start(name: str) -> None:
        started[name] = Served(tmp_path / name, **shared)

    threads = [threading.Thread(target=start, args=[name]) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        one, two = started["one"], started["two"]
        cid = one.put("x", HELLO * 100)
        for gateway in (two, one, two):
            assert gateway.get(f"/ipfs/{cid}") == (200, HELLO * 100)
        assert one.ask("DELETE", f"/ipfs/{cid}")[0] == 204
        assert one.get(f"/ipfs/{cid}")[0] == 404
        until(lambda: two.get(f"/ipfs/{cid}")[0] == 404, 10.0)
        two.put("x", HELLO * 100)
        assert one.get(f"/ipfs/{cid}") == (200, HELLO * 100)
    finally:
        codes = [gateway.end() for gateway in started.values()]
    assert codes == [0, 0]
