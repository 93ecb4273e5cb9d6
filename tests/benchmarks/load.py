"""One measurement each: requests per second, bytes per second, seconds."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.benchmarks.servers import KEY, Server

SECONDS = 3


def requests_per_second(server: Server, path: str) -> float:
    command = ["wrk", "-t1", "-c32", f"-d{SECONDS}s", server.url + path]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in report:
        raise RuntimeError(f"{server.name} {path}: {report}")
    match = re.search(r"Requests/sec:\s+([\d.]+)", report)
    assert match
    return float(match[1])


def download_mb(server: Server, path: str) -> float:
    command = ["curl", "-sf", "-o", "/dev/null", "-w", "%{speed_download}", server.url + path]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) / 1e6


def seconds_to_get(server: Server, path: str, *options: str) -> float:
    command = ["curl", "-sf", "-o", "/dev/null", "-w", "%{time_total}", *options, server.url + path]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def put(server: Server, file: Path) -> tuple[str, float]:
    """The CID, and MB/s from the first byte to the 201."""
    command = ["curl", "-sf", "-T", str(file), "-H", f"Authorization: Bearer {KEY}", f"{server.url}/ipfs/"]
    started = time.perf_counter()
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(answer)["cid"], file.stat().st_size / (time.perf_counter() - started) / 1e6


def save(server: Server, path: str, file: Path) -> None:
    subprocess.run(["curl", "-sf", "-o", str(file), server.url + path], check=True)


@contextmanager
def slow_readers(server: Server, path: str, count: int) -> Iterator[None]:
    """Connections that take 16 KiB a second."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    with ExitStack() as stack:
        readers = []
        for _ in range(count):
            reader = stack.enter_context(socket.create_connection((host, int(port))))
            reader.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            readers.append(reader)
        ended = threading.Event()

        def read() -> None:
            while not ended.wait(1):
                for reader in readers:
                    reader.recv(16 * 1024)

        reading = threading.Thread(target=read)
        reading.start()
        try:
            yield
        finally:
            ended.set()
            reading.join()


def kubo_add(binary: str, server: Server, path: Path) -> tuple[str, float]:
    command = [binary, "add", "-Q", "-r", "--cid-version=1", "--raw-leaves", "--chunker=size-1048576"]
    command += ["--max-file-links=1024", str(path)]
    started = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"IPFS_PATH": str(server.repository)}
    )
    size = path.stat().st_size if path.is_file() else 0
    return done.stdout.strip(), size / (time.perf_counter() - started) / 1e6
