"""Postgres, Redis and an S3 server that can be killed and started again under the same address."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests import ports, postgres_server
from tests.storage import s3_servers

SECONDS = 60.0


@dataclass
class Service:
    """A server process; `ready` says whether it answers."""

    name: str
    command: list[str]
    ready: Callable[[subprocess.Popen[bytes]], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it answers."""
        until = time.monotonic() + SECONDS
        while self.process is None or not self.ready(self.process):
            if self.process is None or self.process.poll() is not None:
                # Also once more: somebody may have taken its port for a moment.
                self.kill()
                self.process = self._spawn()
            assert time.monotonic() < until, f"{self.name} does not answer"
            time.sleep(0.05)

    def _spawn(self) -> subprocess.Popen[bytes]:
        quiet, environment = subprocess.DEVNULL, {**os.environ, **self.environment}
        # A standard input that never ends.
        return subprocess.Popen(
            self.command,
            cwd=postgres_server.ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=quiet,
            stderr=quiet,
        )

    def kill(self) -> None:
        """As a crash: nobody is told."""
        if self.process is not None:
            assert self.process.stdin is not None
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(SECONDS)
            self.process.stdin.close()
            self.process = None


@dataclass(frozen=True)
class Services:
    """All that a gateway may depend on, and the settings that make it do so."""

    postgres: Service
    redis: Service | None
    bucket: Service
    settings: Mapping[str, str]

    @property
    def all(self) -> list[Service]:
        """Those that there are."""
        return [one for one in (self.redis, self.bucket, self.postgres) if one is not None]


@contextmanager
def services(folder: Path) -> Iterator[Services]:
    """All of them running; Redis only where it is found. The folder's path must be short."""
    settings: dict[str, str] = {}
    with ExitStack() as stack:
        found = Services(
            _postgres(folder / "pg", settings),
            _redis(folder, settings),
            _bucket(folder / "s3", settings),
            settings,
        )
        for one in found.all:
            stack.callback(one.kill)
            one.start()
        account = s3_servers.account_of(settings["FILEBASE_ENDPOINT_URL"], settings["FILEBASE_BUCKET_NAME"])
        asyncio.run(s3_servers.make_bucket(account))
        yield found


def _postgres(folder: Path, settings: dict[str, str]) -> Service:
    settings["DATABASE_URL"] = (
        f"postgresql://cidgate@/postgres?host={folder}/socket&port=5432&sslmode=disable"
    )

    def ready(_: object) -> bool:
        return asyncio.run(_answers(settings["DATABASE_URL"]))

    return Service("Postgres", postgres_server.command(folder), ready)


async def _answers(dsn: str) -> bool:
    import asyncpg

    try:
        connection = await asyncpg.connect(dsn, timeout=5)
        await connection.close(timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    return True


def _redis(folder: Path, settings: dict[str, str]) -> Service | None:
    binary = shutil.which("redis-server")
    if binary is None:
        return None
    path = str(folder / "redis.sock")
    settings["REDIS_URL"] = f"unix://{path}"
    command = [binary, "--port", "0", "--unixsocket", path, "--save", "", "--dir", str(folder)]

    def ready(_: object) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            try:
                client.connect(path)
                client.sendall(b"PING\r\n")
                return client.recv(5) == b"+PONG"
            except OSError:
                return False

    return Service("Redis", command, ready)


def _bucket(folder: Path, settings: dict[str, str]) -> Service:
    port = ports.free_port()
    settings |= {
        "FILEBASE_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "FILEBASE_BUCKET_NAME": "content",
        "FILEBASE_IPFS_API_KEY": s3_servers.KEY_ID,
        "FILEBASE_IPFS_API_SECRET": s3_servers.SECRET,
    }
    binary = s3_servers.versitygw()
    assert binary is not None, "versitygw keeps its objects over a restart, moto does not"
    keys = {"ROOT_ACCESS_KEY": s3_servers.KEY_ID, "ROOT_SECRET_KEY": s3_servers.SECRET}
    command = s3_servers.versity_command(binary, folder, port)
    return Service("the S3 server", command, lambda process: ports.listens(process.pid, port), keys)
