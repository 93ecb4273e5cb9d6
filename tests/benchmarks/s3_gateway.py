"""Figures of a whole gateway over a bucket: `python -m tests.benchmarks.s3_gateway [GiB of the large file]`.

versitygw keeps the bucket: VERSITYGW names its binary, or PATH has it.
"""

import asyncio
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import boto3
from boto3.s3.transfer import TransferConfig

from ipld.car_reader import CarReader
from tests.gateway.processes import Served
from tests.storage.filebase_double import filebase_at
from tests.storage.s3_servers import account_of, make_bucket, versity_server, versitygw

MIB = 1024 * 1024
KEY = "the-key-of-the-benchmarks-0123456789"
ROUNDS = 3
# The chunk of the profile that is used: no two of a file are alike, and making them costs nothing.
CHUNK = 256 * 1024
SEED = os.urandom(CHUNK - 16)


def pieces(size, mark=0):
    for number in range(size // CHUNK):
        yield mark.to_bytes(8, "big") + number.to_bytes(8, "big") + SEED


def settings_of(url, account, data):
    return {
        "FILEBASE_ENDPOINT_URL": url,
        "FILEBASE_BUCKET_NAME": account.bucket,
        "FILEBASE_IPFS_API_KEY": account.key_id,
        "FILEBASE_IPFS_API_SECRET": account.secret,
        "BOOTSTRAP_API_KEY": KEY,
    }


@contextmanager
def gateway(url, account, data):
    served = Served(data, **settings_of(url, account, data))
    try:
        yield served
    finally:
        served.end()


def memory(served, name):
    status = Path(f"/proc/{served.process.pid}/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0]) / 1024


@contextmanager
def peak(served, what, size):
    """Prints time and peak memory (VmHWM) of the gateway's one process."""
    Path(f"/proc/{served.process.pid}/clear_refs").write_text("5")
    idle, started = memory(served, "VmRSS"), time.perf_counter()
    yield
    seconds, high = time.perf_counter() - started, memory(served, "VmHWM")
    rate = f"{seconds:.1f} s, {size / seconds / 1e6:.0f} MB/s"
    print(f"  {what}: {rate}; memory before {idle:.0f} MiB, VmHWM {high:.0f} MiB", flush=True)


def put(url, body, name):
    """By curl from a pipe, so that no length is known; what the gateway answers."""
    command = ["curl", "-sS", "-f", "-T", "-", "-H", f"Authorization: Bearer {KEY}", f"{url}/ipfs/{name}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as curl:
        for piece in body:
            curl.stdin.write(piece)
        curl.stdin.close()
        answer = curl.stdout.read().decode()
        assert curl.wait() == 0, answer
    return answer.partition('"cid": "')[2].partition('"')[0]


def read(url):
    with urllib.request.urlopen(url) as response:
        while piece := response.read(MIB):
            yield piece


def large(served, size):
    with peak(served, f"{size // MIB} MiB up, no length known", size):
        cid = put(served.url, pieces(size), "large.bin")
    expected = hashlib.sha256()
    for piece in pieces(size):
        expected.update(piece)
    for n in range(2):
        got, count = hashlib.sha256(), 0
        with peak(served, f"{size // MIB} MiB down, compared, time {n + 1}", size):
            for piece in read(f"{served.url}/ipfs/{cid}"):
                got.update(piece)
                count += len(piece)
        assert (count, got.digest()) == (size, expected.digest())
    reader = CarReader()
    with peak(served, f"{size // MIB} MiB as a CAR, its blocks counted", size):
        blocks = sum(1 for piece in read(f"{served.url}/ipfs/{cid}?format=car") for _ in reader.feed(piece))
    print(f"    {blocks} blocks", flush=True)
    return cid


def against_the_server(served, url, account, size):
    """Uploads, interleaved: ours by curl from a file, and boto3 straight to the server."""
    client = boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=account.key_id,
        aws_secret_access_key=account.secret,
        region_name=account.region,
    )
    rows = {"cidgate, PUT": [], "boto3 put_object": [], "boto3 upload_file (parts, threads)": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            path = Path(folder) / f"{number}.bin"
            with path.open("wb") as file:
                for piece in pieces(size, mark=number + 1):
                    file.write(piece)
            for name in rows:
                started = time.perf_counter()
                if name.startswith("cidgate"):
                    put_file(served.url, path)
                elif "put_object" in name:
                    with path.open("rb") as body:
                        client.put_object(Bucket=account.bucket, Key=f"direct/{number}", Body=body)
                else:
                    client.upload_file(str(path), account.bucket, f"parts/{number}", Config=TransferConfig())
                rows[name].append(size / (time.perf_counter() - started) / 1e6)
            path.unlink()
            for key in (f"direct/{number}", f"parts/{number}"):
                client.delete_object(Bucket=account.bucket, Key=key)
    ours = statistics.median(rows["cidgate, PUT"])
    for name, rates in rows.items():
        median = statistics.median(rates)
        each = ", ".join(f"{rate:.0f}" for rate in rates)
        print(f"  {size // MIB} MiB up, {name}: {median:.0f} MB/s ({each}); ours is x{ours / median:.2f}")


def put_file(url, path):
    command = ["curl", "-sS", "-f", "-T", str(path), "-H", f"Authorization: Bearer {KEY}", f"{url}/ipfs/"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def counting(url):
    """A proxy in front of the server that notes each request; it answers in a thread of its own."""
    loop = asyncio.new_event_loop()
    opening = filebase_at(url, gives_cids=False)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        proxy = asyncio.run_coroutine_threadsafe(opening.__aenter__(), loop).result(30)
        yield proxy
        asyncio.run_coroutine_threadsafe(opening.__aexit__(None, None, None), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def round_trips(url, account, data, size):
    """What a cold gateway asks of the bucket for the first byte, and for a range."""
    with gateway(url, account, data) as served:
        cid = put(served.url, pieces(size, mark=99), "cold.bin")
    with counting(url) as proxy:
        for name, header in (
            ("first byte of all of it", None),
            ("its last 100 bytes", "bytes=-100"),
            ("100 bytes in the middle", f"bytes={size // 2}-{size // 2 + 99}"),
            ("10 MiB in the middle", f"bytes={size // 2 + 7}-{size // 2 + 10 * MIB + 6}"),
        ):
            with gateway(proxy.url, account, data) as served:
                time.sleep(0.5)
                proxy.requests.clear()
                request = urllib.request.Request(f"{served.url}/ipfs/{cid}")
                if header:
                    request.add_header("Range", header)
                started = time.perf_counter()
                with urllib.request.urlopen(request) as response:
                    response.read(1)
                    first = time.perf_counter() - started
                    asked = len(proxy.requests)
                    if header:
                        response.read()
                ranges = [headers.get("Range", "all") for _, _, headers in proxy.requests]
                when = f"{asked} requests and {first * 1e3:.0f} ms to the first byte"
                print(f"  cold {size // MIB} MiB, {name}: {when}; {ranges}", flush=True)


def main():
    large_bytes = int(sys.argv[1]) * 1024 * MIB if len(sys.argv) > 1 else 5 * 1024 * MIB
    binary = versitygw()
    assert binary, "VERSITYGW names no versitygw, nor has PATH one"
    with tempfile.TemporaryDirectory(prefix="cidgate-bench-") as folder:
        data = Path(folder)
        with versity_server(binary, data / "s3") as url:
            account = account_of(url)
            asyncio.run(make_bucket(account))
            print("a gateway of one process over versitygw", flush=True)
            with gateway(url, account, data / "gateway") as served:
                cid = large(served, large_bytes)
                request = urllib.request.Request(f"{served.url}/ipfs/{cid}", method="DELETE")
                request.add_header("Authorization", f"Bearer {KEY}")
                urllib.request.urlopen(request).close()
                against_the_server(served, url, account, 1024 * MIB)
            round_trips(url, account, data / "gateway", 1024 * MIB)


if __name__ == "__main__":
    main()
