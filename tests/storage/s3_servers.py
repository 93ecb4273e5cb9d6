"""Real S3 servers for tests: moto, which pip installs, and versitygw where its binary is found."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

from storage.resilient import Patience
from storage.s3 import S3Objects, open_s3
from storage.s3_account import MIB, S3Account, S3Limits
from tests import ports

KEY_ID, SECRET = "test-access-key", "test-secret-key-0123456789"
# Quick where a server fails on purpose.
SOON = Patience(fail_max=5, rest=1.0, wait=0.01, longest_wait=0.05)
# The smallest parts that S3 allows, so that tests of many parts stay small.
LIMITS = S3Limits(part_bytes=5 * MIB)


def versitygw() -> str | None:
    """The binary that VERSITYGW names, or that is on the PATH, or None."""
    return os.environ.get("VERSITYGW") or shutil.which("versitygw")


@contextmanager
def moto_server() -> Iterator[str]:
    """The URL of a server that checks no signatures."""
    with _running(
        lambda port: [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    ) as url:
        yield url


@contextmanager
def versity_server(binary: str, folder: Path) -> Iterator[str]:
    """The URL of a server that checks everything; the folder must be able to keep extended attributes."""
    keys = {"ROOT_ACCESS_KEY": KEY_ID, "ROOT_SECRET_KEY": SECRET}
    with _running(lambda port: versity_command(binary, folder, port), **keys) as url:
        yield url


def versity_command(binary: str, folder: Path, port: int) -> list[str]:
    """Keeps its objects in the folder, which is made where it is missing."""
    for name in ("data", "sidecar"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    kept = ["posix", "--sidecar", str(folder / "sidecar"), str(folder / "data")]
    return [binary, "--port", f"127.0.0.1:{port}", "--quiet", *kept]


@contextmanager
def _running(command: Callable[[int], list[str]], **more: str) -> Iterator[str]:
    def start() -> tuple[subprocess.Popen[bytes], int]:
        port = ports.free_port()
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command(port), env={**os.environ, **more}, stdout=quiet, stderr=quiet)
        ports.wait_until_it_listens(process, port)
        return process, port

    process, port = ports.with_free_ports(start)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        ports.end(process)


def account_of(url: str, bucket: str = "") -> S3Account:
    """An account with a bucket of its own, which is still to be made."""
    return S3Account(url, "us-east-1", bucket or f"b-{uuid.uuid4().hex}", KEY_ID, SECRET)


@functools.cache
def read_models_once() -> None:
    """Each client reads the description of S3 anew, which takes longer than most tests."""
    import botocore.loaders
    import botocore.session

    loader = botocore.loaders.create_loader()
    botocore.session.create_loader = lambda *_: loader


async def make_bucket(account: S3Account) -> None:
    import aioboto3

    read_models_once()
    session = aioboto3.Session(
        aws_access_key_id=account.key_id, aws_secret_access_key=account.secret, region_name=account.region
    )
    async with session.client("s3", endpoint_url=account.endpoint_url) as client:
        await client.create_bucket(Bucket=account.bucket)


@asynccontextmanager
async def bucket_at(
    url: str, limits: S3Limits = LIMITS, patience: Patience = SOON
) -> AsyncIterator[S3Objects]:
    """A fresh, empty bucket."""
    account = account_of(url)
    await make_bucket(account)
    async with open_s3(account, limits, patience) as objects:
        yield objects


def with_limits(**changed: float) -> S3Limits:
    return replace(LIMITS, **changed)  # type: ignore[arg-type]
