"""Redis, the S3 server and Postgres killed and started again under load: `make outages`.

Two gateways share them. What was answered must be true, whatever else is down: a 200 has the bytes, a 201 is
readable through the other gateway, and anything else is a 503 that says when to come again, or a body that
breaks off.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from tests.durability.services import Service, services
from tests.gateway.processes import Served

KEY = "the-key-of-the-outages-0123456789"
SETTINGS = {
    "BOOTSTRAP_API_KEY": KEY,
    # Little is remembered, so that most reads need the bucket and the index.
    "CACHE_MEMORY_BYTES": "4000000",
    "CIRCUIT_BREAKER_RESET_TIMEOUT": "5s",
}
COLD_FILES = 60
COLD_BYTES = 300_000
HOT = b"hot content, always at hand\n"
RECOVERY_SECONDS = 60.0
KINDS = ("hot read", "cold read", "upload", "read of an upload")


@dataclass
class Figures:
    """Of each phase, how often each kind of request had each outcome; `recovered` in seconds."""

    outcomes: dict[str, Counter[tuple[str, str]]] = field(default_factory=dict)
    recovered: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """What is to be printed."""
        for phase, counted in self.outcomes.items():
            for kind in KINDS:
                found = ", ".join(f"{n} x {what}" for (of, what), n in sorted(counted.items()) if of == kind)
                yield f"{phase:>24} | {kind}: {found or 'none'}"
        for name, seconds in self.recovered.items():
            yield f"{name} was back: everything answered again after {seconds:.1f} s"
        yield f"{len(self.problems)} problems"
        yield from self.problems[:20]


class Load:
    """Threads that read and write until they are told to stop; their outcomes count for the present phase."""

    def __init__(self, gateways: list[Served], figures: Figures, pause: float) -> None:
        self._gateways = gateways
        self._pause = pause
        self._figures = figures
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._counted = Counter[tuple[str, str]]()
        self._last: dict[str, str] = {}
        first = gateways[0]
        self._hot = first.put("hot", HOT)
        self._cold = [(first.put("cold", data), data) for data in map(_cold_file, range(COLD_FILES))]
        self.uploaded: dict[str, bytes] = {}

    def phase(self, name: str) -> None:
        with self._lock:
            self._counted = self._figures.outcomes.setdefault(name, Counter())
            self._last.clear()

    def all_is_well(self) -> bool:
        """Whether the latest outcome of each kind was a success."""
        with self._lock:
            return set(self._last) == set(KINDS) and all(
                what.startswith("20") for what in self._last.values()
            )

    @contextmanager
    def running(self) -> Iterator[None]:
        works = (self._read_hot, self._read_cold, self._read_cold, self._write, self._write)
        threads = [threading.Thread(target=self._repeat, args=[work, n]) for n, work in enumerate(works)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(120)

    def _repeat(self, work: Callable[[random.Random], None], number: int) -> None:
        dice = random.Random(number)
        while not self._stop.is_set():
            time.sleep(self._pause)
            try:
                work(dice)
            except Exception as error:
                self._problem(f"{work.__name__}: {type(error).__name__}: {error}")
                time.sleep(0.1)

    def _read_hot(self, dice: random.Random) -> None:
        for gateway in self._gateways:
            status, _, body = gateway.ask("GET", f"/ipfs/{self._hot}")
            self._note("hot read", status, None)
            if (status, body) != (200, HOT):
                self._problem(f"a hot read: {status}")
        time.sleep(0.02)

    def _read_cold(self, dice: random.Random) -> None:
        cid, data = dice.choice(self._cold)
        self._read("cold read", dice.choice(self._gateways), cid, data)

    def _write(self, dice: random.Random) -> None:
        data = os.urandom(dice.choice([100, 50_000, 1_500_000]))
        writer, reader = dice.sample(self._gateways, 2)
        status, headers, _ = writer.ask("PUT", "/ipfs/new", data)
        self._note("upload", status, headers.get("Retry-After"))
        if status == 201:
            cid = str(headers["IPFS-Hash"])
            self.uploaded[cid] = data
            self._read("read of an upload", reader, cid, data)

    def _read(self, kind: str, gateway: Served, cid: str, data: bytes) -> None:
        try:
            status, headers, body = gateway.ask("GET", f"/ipfs/{cid}")
        except (ConnectionError, HTTPException):
            # What is to be said after the first byte is said like this.
            self._count(kind, "cut off")
            return
        self._note(kind, status, headers.get("Retry-After"))
        if status == 200 and body != data:
            self._problem(f"{kind}: other bytes for {cid}")

    def _note(self, kind: str, status: int, retry_after: str | None) -> None:
        what = str(status) if status < 400 or retry_after is None else f"{status} with Retry-After"
        self._count(kind, what)
        if status >= 400:
            if what != "503 with Retry-After":
                self._problem(f"{kind}: {what}")
            time.sleep(0.05)

    def _count(self, kind: str, what: str) -> None:
        with self._lock:
            self._counted[kind, what] += 1
            self._last[kind] = what

    def _problem(self, text: str) -> None:
        with self._lock:
            self._figures.problems.append(text)


def _cold_file(number: int) -> bytes:
    return random.Random(number).randbytes(COLD_BYTES)


def outages(folder: Path, seconds: float, pause: float = 0.0) -> Figures:
    """One outage of each service, of so many seconds; each client rests for `pause` between its requests."""
    figures = Figures()
    with services(folder) as below, ExitStack() as stack:
        gateways = [Served(folder / name, **SETTINGS, **below.settings) for name in ("one", "two")]
        for gateway in gateways:
            stack.callback(gateway.end)
        load = Load(gateways, figures, pause)
        with load.running():
            load.phase("all is well")
            time.sleep(seconds)
            for service in below.all:
                _outage(service, load, figures, seconds)
        for cid, data in load.uploaded.items():
            if gateways[0].get(f"/ipfs/{cid}") != (200, data):
                figures.problems.append(f"lost: {cid}")
    return figures


def _outage(service: Service, load: Load, figures: Figures, seconds: float) -> None:
    service.kill()
    load.phase(f"{service.name} is down")
    time.sleep(seconds)
    service.start()
    load.phase(f"{service.name} is back")
    began = time.monotonic()
    while not load.all_is_well():
        if time.monotonic() - began > RECOVERY_SECONDS:
            figures.problems.append(f"{service.name} is back, and not everything answers")
            break
        time.sleep(0.05)
    figures.recovered[service.name] = time.monotonic() - began
    time.sleep(seconds / 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each outage is")
    with tempfile.TemporaryDirectory(prefix="cg-out-") as folder:
        figures = outages(Path(folder), parser.parse_args().seconds)
    print("\n".join(figures.lines()))
    raise SystemExit(bool(figures.problems))


if __name__ == "__main__":
    main()
