"""Servers to measure: ours, and Kubo where its binary is named."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port

KEY = "benchmark-key-benchmark-key"


@dataclass(frozen=True)
class Server:
    name: str
    url: str
    pid: int
    repository: Path


def wait_for(url: str, seconds: float = 30) -> float:
    """Seconds until the URL answered."""
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return time.perf_counter() - started
        except OSError:
            time.sleep(0.01)
    raise TimeoutError(url)


@contextmanager
def cidgate(data: Path, workers: int = 1) -> Iterator[Server]:
    port = free_port()
    environ = {**os.environ, "DATA_DIR": str(data), "GATEWAY_PORT": str(port), "BOOTSTRAP_API_KEY": KEY}
    with (data.parent / "access.log").open("ab") as log:
        command = [sys.executable, "-m", "gateway", "serve", "--workers", str(workers)]
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/healthz")
        yield Server("cidgate", f"http://127.0.0.1:{port}", process.pid, data)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@contextmanager
def kubo(binary: str, repository: Path) -> Iterator[Server]:
    port, api = free_port(), free_port()
    environ = {**os.environ, "IPFS_PATH": str(repository)}

    def run(*arguments: str) -> None:
        subprocess.run([binary, *arguments], env=environ, check=True, capture_output=True)

    run("init", "--profile=test")
    settings = {
        "Addresses": {
            "Gateway": f"/ip4/127.0.0.1/tcp/{port}",
            "API": f"/ip4/127.0.0.1/tcp/{api}",
            "Swarm": [],
        },
        "AutoConf": {"Enabled": False},
        "Bootstrap": [],
        "DNS": {"Resolvers": {}},
        "Routing": {"DelegatedRouters": []},
        "Ipns": {"DelegatedPublishers": []},
    }
    path = repository / "config"
    config = json.loads(path.read_text())
    for name, value in settings.items():
        config[name] = {**config.get(name, {}), **value} if isinstance(value, dict) else value
    path.write_text(json.dumps(config))
    process = subprocess.Popen(
        [binary, "daemon", "--offline"], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/ipfs/bafkqaaa")
        yield Server("kubo", f"http://127.0.0.1:{port}", process.pid, repository)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def resident_mb(pid: int) -> float:
    """Memory of a process and its children, in MB, without what is shared page cache."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:
            continue
        if int(fields["Pid"]) == pid or int(fields["PPid"]) == pid:
            total += int(fields.get("RssAnon", "0 kB").split()[0])
    return total / 1000


@contextmanager
def peak_mb(pid: int) -> Iterator[list[float]]:
    """Appends, at the end, by how much the memory rose above what it was."""
    samples = [resident_mb(pid)]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            with suppress(KeyError):
                samples.append(resident_mb(pid))

    watching = threading.Thread(target=watch)
    watching.start()
    risen: list[float] = []
    try:
        yield risen
    finally:
        ended.set()
        watching.join()
        risen.append(max(samples) - samples[0])
