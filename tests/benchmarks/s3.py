"""Figures of the S3 store against a server directly: `python -m tests.benchmarks.s3 [URL of a server]`."""

import asyncio
import os
import resource
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import aioboto3

from storage.s3 import open_s3
from storage.s3_account import MIB, S3Limits
from tests.storage.s3_servers import SOON, account_of, make_bucket, versity_server, versitygw
from tests.storage.stores import store

SMALL = 4096
PIECE = bytes(os.urandom(MIB))


def rss():
    """Peak memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


async def small_reads(objects, client, bucket, seconds=4.0):
    for n in range(64):
        await store(objects, f"cars/{n}", os.urandom(SMALL))

    async def ours(n):
        async with objects.open(f"cars/{n % 64}", (0, SMALL)) as source:
            async for _ in source.read(0, SMALL):
                pass

    async def theirs(n):
        answer = await client.get_object(Bucket=bucket, Key=f"cars/{n % 64}")
        async with answer["Body"] as body:
            await body.read()

    for name, read in (("presigned, shared session", ours), ("get_object of aioboto3", theirs)):
        for at_once in (1, 16):
            done, until = 0, time.perf_counter() + seconds

            async def work():
                nonlocal done
                while time.perf_counter() < until:
                    await read(done)
                    done += 1

            await asyncio.gather(*(work() for _ in range(at_once)))
            print(f"  {SMALL} B reads, {name}, {at_once} at once: {done / seconds:.0f}/s")


async def large(objects, size):
    before = rss()
    started = time.perf_counter()
    async with objects.create("cars/large", 59) as writer:
        for _ in range(size // MIB):
            await writer.write(PIECE)
        await writer.commit(bytes(59))
    up = time.perf_counter() - started
    started, got = time.perf_counter(), 0
    async with objects.open("cars/large", (0, size)) as source:
        async for piece in source.read(0, size):
            got += len(piece)
    assert got == size
    down = time.perf_counter() - started
    rates = f"up {size / up / 1e6:.0f} MB/s, down {size / down / 1e6:.0f} MB/s"
    print(f"  {size // MIB} MiB: {rates}; peak memory {before} -> {rss()} MiB")


async def measure(url):
    account = account_of(url)
    await make_bucket(account)
    session = aioboto3.Session(account.key_id, account.secret, region_name=account.region)
    async with (
        open_s3(account, S3Limits(), SOON) as objects,
        session.client("s3", endpoint_url=url) as client,
    ):
        await small_reads(objects, client, account.bucket)
        for size in (64 * MIB, 1024 * MIB):
            await large(objects, size)


def main():
    import uvloop

    with ExitStack() as stack:
        if len(sys.argv) > 1:
            url = sys.argv[1]
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            url = stack.enter_context(versity_server(versitygw(), folder))
        print(f"S3 store against {'versitygw' if len(sys.argv) == 1 else url}")
        uvloop.run(measure(url))


if __name__ == "__main__":
    main()
