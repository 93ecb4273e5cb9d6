"""Gateways as real processes, for tests: started on a free port, asked over HTTP, ended by their id."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 60.0


def environment(data: Path, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "DATA_DIR": str(data), "GATEWAY_PORT": "0", **more}


def command(data: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A command of `cidgate`, run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        env=environment(data, **more),
        cwd=data,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


class Served:
    """A `cidgate serve` that has printed its start block."""

    def __init__(self, data: Path, *arguments: str, **more: str) -> None:
        self.data = data
        data.mkdir(parents=True, exist_ok=True)
        self._files = [(data / name).open("w+") for name in ("out.log", "err.log")]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", *arguments],
            env=environment(data, **more),
            cwd=data,
            stdout=self._files[0],
            stderr=self._files[1],
        )
        self.url = self._found(r"Gateway  (http://\S+)")
        key = re.search(r"cidgate_[0-9A-Za-z]{38}", self.block)
        self.key = more.get("BOOTSTRAP_API_KEY") or (key[0] if key else "")

    @property
    def block(self) -> str:
        return (self.data / "err.log").read_text()

    @property
    def access_log(self) -> str:
        return (self.data / "out.log").read_text()

    def _found(self, pattern: str) -> str:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            match = re.search(pattern, self.block)
            if match:
                return match[1]
            time.sleep(0.02)
        self.end(signal.SIGKILL)
        raise AssertionError(f"the gateway did not start:\n{self.block}")

    def ask(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        named = {"Authorization": f"Bearer {self.key}"} if method not in ("GET", "HEAD") and self.key else {}
        request = urllib.request.Request(
            self.url + target, method=method, data=body, headers={**named, **(headers or {})}
        )
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def get(self, target: str) -> tuple[int, bytes]:
        status, _, body = self.ask("GET", target)
        return status, body

    def put(self, name: str, body: bytes) -> str:
        status, headers, answer = self.ask("PUT", f"/ipfs/{name}", body)
        assert status == 201, answer
        return headers["IPFS-Hash"]

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(SECONDS)
        for file in self._files:
            file.close()
        return code

    def kill(self) -> None:
        self.end(signal.SIGKILL)


@contextmanager
def served(data: Path, *arguments: str, **more: str) -> Iterator[Served]:
    running = Served(data, *arguments, **more)
    try:
        yield running
    finally:
        running.end()


def children(process: int) -> list[int]:
    """The processes that a process has started, by their ids."""
    path = Path(f"/proc/{process}/task/{process}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def until(condition: object, seconds: float = SECONDS) -> None:
    """Waits until `condition()` is true; fails where it never is."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this never came true"
        time.sleep(0.02)
