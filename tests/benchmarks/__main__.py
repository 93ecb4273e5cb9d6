"""Prints the figures for the targets: three rounds, both sides interleaved, medians and their ratio.

KUBO names Kubo's binary; without it our own figures stand alone. Arguments choose rows by name.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import load
from tests.benchmarks.servers import Server, cidgate, kubo, peak_mb, resident_mb

ROUNDS = 3
MIB = 1024 * 1024


@dataclass(frozen=True)
class Bench:
    """What the rows measure with; `peer` is None without Kubo."""

    ours: Server
    peer: Server | None
    binary: str | None
    files: dict[str, Path]
    cids: dict[str, str]

    def compare(
        self, name: str, unit: str, measure: Callable[[Server], float], rounds_of: int = ROUNDS
    ) -> None:
        servers = [self.ours] + ([self.peer] if self.peer else [])
        rounds = [[measure(server) for server in servers] for _ in range(rounds_of)]
        medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
        show(name, unit, medians, [values[0] / values[1] for values in rounds] if self.peer else [])


def show(name: str, unit: str, medians: list[float], ratios: list[float]) -> None:
    line = f"{name:<46}{medians[0]:>12,.1f} {unit:<6}"
    if ratios:
        median = statistics.median(ratios)
        line += f"{medians[1]:>12,.1f} kubo   x{median:.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
    print(line, flush=True)


def make_files(folder: Path) -> dict[str, Path]:
    files = {}
    for name, size in (
        ("1KiB", 1024),
        ("10KiB", 10 * 1024),
        ("100KiB", 100 * 1024),
        ("1MiB", MIB),
        ("100MiB", 100 * MIB),
        ("1GiB", 1024 * MIB),
    ):
        files[name] = folder / name
        fill(files[name], size)
    files["directory"] = folder / "directory"
    make_directory(files["directory"], "")
    return files


def make_directory(directory: Path, mark: str) -> None:
    directory.mkdir()
    for number in range(1000):
        (directory / f"file-{number:04}.txt").write_text(f"{mark}file {number}\n" * 10)


def fill(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for start in range(0, size, MIB):
            file.write(os.urandom(min(MIB, size - start)))


def upload(bench: Bench) -> None:
    for name in ("1KiB", "10KiB", "100KiB", "1MiB", "100MiB"):
        bench.cids[name], _ = load.put(bench.ours, bench.files[name])
        if bench.peer and bench.binary:
            cid, _ = load.kubo_add(bench.binary, bench.peer, bench.files[name])
            assert cid == bench.cids[name], (cid, bench.cids[name])
    speeds: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        # New bytes each time: neither side stores what it has already.
        fill(bench.files["1GiB"], 1024 * MIB)
        bench.cids["1GiB"], speed = load.put(bench.ours, bench.files["1GiB"])
        speeds[0].append(speed)
        if bench.peer and bench.binary:
            cid, speed = load.kubo_add(bench.binary, bench.peer, bench.files["1GiB"])
            assert cid == bench.cids["1GiB"]
            speeds[1].append(speed)
    ratios = [a / b for a, b in zip(*speeds, strict=True)] if bench.peer else []
    show("upload of 1 GiB with PUT / ipfs add", "MB/s", [statistics.median(s) for s in speeds if s], ratios)


def import_here(bench: Bench, path: Path) -> str:
    environ = {**os.environ, "DATA_DIR": str(bench.ours.repository)}
    command = [sys.executable, "-m", "gateway", "import", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    return done.stdout.split()[0]


def add_to_both(bench: Bench, path: Path) -> str:
    """By processes of their own: the servers have not seen it yet."""
    cid = import_here(bench, path)
    if bench.peer and bench.binary:
        other, _ = load.kubo_add(bench.binary, bench.peer, path)
        assert cid == other
    return cid


def small(bench: Bench) -> None:
    for name in ("1KiB", "10KiB", "100KiB", "1MiB"):
        path = f"/ipfs/{bench.cids[name]}"
        bench.compare(
            f"{name} hot file", "req/s", lambda server, path=path: load.requests_per_second(server, path)
        )


def directory(bench: Bench) -> None:
    root = f"/ipfs/{bench.cids['directory']}"
    bench.compare(
        "file in a 1,000-entry directory",
        "req/s",
        lambda s: load.requests_per_second(s, f"{root}/file-0500.txt"),
    )
    bench.compare("HTML listing of it", "req/s", lambda s: load.requests_per_second(s, f"{root}/"))


def large(bench: Bench) -> None:
    for name in ("100MiB", "1GiB"):
        path = f"/ipfs/{bench.cids[name]}"
        load.download_mb(bench.ours, path)
        bench.compare(f"{name} file, one connection", "MB/s", lambda s, path=path: load.download_mb(s, path))


def archives(bench: Bench) -> None:
    for name in ("100MiB", "1GiB"):
        path = f"/ipfs/{bench.cids[name]}?format=car"
        load.download_mb(bench.ours, path)
        bench.compare(f"{name} file as CAR", "MB/s", lambda s, p=path: load.download_mb(s, p), 7)
    for name in ("car", "tar"):
        path = f"/ipfs/{bench.cids['directory']}?format={name}"
        load.seconds_to_get(bench.ours, path)
        bench.compare(
            f"1,000-entry directory as {name.upper()}, repeated",
            "1/s",
            lambda s, p=path: 1 / load.seconds_to_get(s, p),
            7,
        )


def first_archives(bench: Bench) -> None:
    """What no process has read since it was added."""
    files, directories = [], []
    for number in range(5):
        folder = bench.files["directory"].with_name(f"first-{number}")
        make_directory(folder, f"first {number} ")
        directories.append(add_to_both(bench, folder))
        file = folder.with_suffix(".bin")
        fill(file, 100 * MIB)
        files.append(add_to_both(bench, file))
    for name, cids, measure in (
        ("100MiB file as CAR, for the first time", files, load.download_mb),
        ("1,000-entry directory as CAR, first time", directories, lambda s, p: 1 / load.seconds_to_get(s, p)),
    ):
        waiting = {server.name: list(cids) for server in (bench.ours, bench.peer) if server}
        unit = "MB/s" if measure is load.download_mb else "1/s"
        bench.compare(
            name,
            unit,
            lambda s, w=waiting, m=measure: m(s, f"/ipfs/{w[s.name].pop()}?format=car"),
            len(cids),
        )


def car_memory(bench: Bench) -> None:
    """How far memory rises: 5 GiB out as a CAR, by HTTP and by the command line; 1,000 who read slowly."""
    large = bench.files["1GiB"].with_name("5GiB")
    fill(large, 5 * 1024 * MIB)
    path = f"/ipfs/{load.put(bench.ours, large)[0]}"
    large.unlink()
    archive = large.with_suffix(".car")
    with peak_mb(bench.ours.pid) as risen:
        load.save(bench.ours, f"{path}?format=car", archive)
    print(f"{'5 GiB file as CAR, gateway':<46}{risen[0]:>12,.1f} MB above idle")
    print(f"{'the same by `cidgate export`':<46}{export_peak(bench, path):>12,.1f} MB in all")
    cid = import_here(bench, archive)
    archive.unlink()
    with peak_mb(bench.ours.pid) as risen:
        speed = load.download_mb(bench.ours, f"/ipfs/{cid}?format=car")
    print(
        f"{'5 GiB CAR as it was uploaded, gateway':<46}{risen[0]:>12,.1f} MB above idle ({speed:,.0f} MB/s)"
    )
    for name, target in (("file", bench.cids["1GiB"]), ("object", cid)):
        with (
            peak_mb(bench.ours.pid) as risen,
            load.slow_readers(bench.ours, f"/ipfs/{target}?format=car", 1000),
        ):
            time.sleep(10)
        print(f"{f'1,000 slow readers of a {name} as CAR':<46}{risen[0]:>12,.1f} MB above idle")


def export_peak(bench: Bench, path: str) -> float:
    environ = {**os.environ, "DATA_DIR": str(bench.ours.repository)}
    command = [sys.executable, "-m", "gateway", "export", path]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as process:
        assert process.stdout
        with peak_mb(process.pid) as risen:
            while process.stdout.read(MIB):
                pass
        assert process.wait() == 0
    return risen[0]


def memory(bench: Bench) -> None:
    print(f"{'memory after all of that, anonymous':<46}{resident_mb(bench.ours.pid):>12,.1f} MB")


ROWS: dict[str, Callable[[Bench], None]] = {
    "small": small,
    "directory": directory,
    "large": large,
    "archives": archives,
    "first_archives": first_archives,
    "car_memory": car_memory,
    "memory": memory,
}


# Only when they are named: they take minutes, and 10 GiB of room.
LONG = {"car_memory"}


def main() -> None:
    wanted = sys.argv[1:] or [name for name in ROWS if name not in LONG]
    binary = os.environ.get("KUBO")
    folder = Path(tempfile.mkdtemp(prefix="cidgate-bench-"))
    try:
        data = folder / "data"
        with cidgate(data) as first:
            print(f"{'memory of an idle process, anonymous':<46}{resident_mb(first.pid):>12,.1f} MB")
        started = time.perf_counter()
        with ExitStack() as stack:
            ours = stack.enter_context(cidgate(data))
            print(f"{'start to the first answer, initialised':<46}{time.perf_counter() - started:>12,.2f} s")
            peer = stack.enter_context(kubo(binary, folder / "kubo")) if binary else None
            bench = Bench(ours, peer, binary, make_files(folder), {})
            upload(bench)
            bench.cids["directory"] = add_to_both(bench, bench.files["directory"])
            for name in wanted:
                ROWS[name](bench)
        if "small" in wanted:
            with ExitStack() as stack:
                ours = stack.enter_context(cidgate(data, workers=2))
                peer = stack.enter_context(kubo(binary, folder / "kubo2")) if binary else None
                if peer and binary:
                    load.kubo_add(binary, peer, bench.files["1KiB"])
                two = Bench(ours, peer, binary, bench.files, bench.cids)
                path = f"/ipfs/{bench.cids['1KiB']}"
                two.compare(
                    "1KiB hot file, two workers", "req/s", lambda s: load.requests_per_second(s, path)
                )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
