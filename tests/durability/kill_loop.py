"""Kills the gateway during uploads, again and again, and checks after each start that nothing was lost.

    python -m tests.durability.kill_loop --rounds 100
    python -m tests.durability.kill_loop --rounds 100 --s3    # versitygw where it is found, else moto

Whatever was answered with 201 reads back whole. Whatever was not is either not there at all, or whole: its
commit came before the kill and its answer did not. After `cidgate sweep` the folder or the bucket holds
exactly what the index knows, and nothing unfinished.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote

import asyncpg

from ipld.unixfs.directory import build_tree
from ipld.unixfs.profiles import UNIXFS_V1_2025
from storage.embedded_postgres import embedded_postgres
from tests.durability.object_places import Place, bucket, folder
from tests.gateway.gateways import form_of
from tests.gateway.processes import Served, command
from tests.ipld.dags import blocks_of
from tests.storage.s3_servers import versitygw

KEY = "the-key-of-the-kill-loop-0123456789"
THREADS = 4
# Kept in memory to be read again much later, at most so many bytes.
KEPT_BYTES = 256 * 1024 * 1024
ROUNDS_PER_LINE = 10
# How long a slow machine may take for the answers that a kill waits for.
ANSWER_SECONDS = 60.0


@dataclass
class Attempt:
    """An upload: the paths that must read back as these bytes once it is known to be there."""

    bodies: dict[str, bytes]
    answered: bool = False

    @property
    def size(self) -> int:
        """The bytes of all bodies."""
        return sum(map(len, self.bodies.values()))


@dataclass
class Figures:
    """What happened in all rounds."""

    rounds: int = 0
    answered: int = 0
    lost_answers: int = 0
    vanished: int = 0
    swept: int = 0
    unfinished: int = 0
    read_back: int = 0
    bytes: int = 0
    slowest_start: float = 0.0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.rounds} kills: {self.answered} uploads answered 201 ({self.bytes / 2**20:.0f} MiB), "
            f"{self.read_back} paths read back whole; {self.vanished} unanswered ones left nothing visible, "
            f"{self.lost_answers} were complete though their answer was lost; {self.swept} things swept, "
            f"{self.unfinished} of them unfinished; "
            f"slowest start {self.slowest_start:.1f} s; {len(self.problems)} problems"
        )


class Uploads:
    """Threads that upload until the server is gone."""

    def __init__(self, server: Served, place: Place, seed: int) -> None:
        self._server = server
        self._largest = place.largest
        self._seed = seed
        self.attempts: list[Attempt] = []
        self.problems: list[str] = []
        form, kind = form_of([("a/one.txt", b"one %d" % seed), ("two.txt", b"two")])
        self.root = self._send("POST", "/ipfs/", form, kind)

    def run(self, seconds: float, answered: int) -> None:
        """Kills the server after so many seconds, and not before so many uploads were answered."""
        threads = [threading.Thread(target=self._work, args=[number]) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        self._wait_for_answers(answered, threads)
        self._server.kill()
        for thread in threads:
            thread.join()

    def _wait_for_answers(self, least: int, threads: list[threading.Thread]) -> None:
        until = time.monotonic() + ANSWER_SECONDS
        while sum(attempt.answered for attempt in self.attempts) < least and all(
            thread.is_alive() for thread in threads
        ):
            if time.monotonic() > until:
                self.problems.append(f"fewer than {least} uploads were answered in {ANSWER_SECONDS} s")
                return
            time.sleep(0.01)

    def _work(self, number: int) -> None:
        dice = random.Random(f"{self._seed}-{number}")
        while True:
            attempt, request = self._prepare(dice)
            self.attempts.append(attempt)
            try:
                self._send(*request)
            except (OSError, HTTPException):
                return
            except AssertionError as error:
                self.problems.append(str(error))
                return
            attempt.answered = True

    def _prepare(self, dice: random.Random) -> tuple[Attempt, tuple[str, str, bytes, str]]:
        body = self._body(dice)
        link, _ = blocks_of(body)
        match dice.randrange(3):
            case 0:
                return Attempt({str(link.cid): body}), ("PUT", "/ipfs/file", body, "")
            case 1:
                files = {f"dir {number}/ź.bin": self._body(dice) for number in range(dice.randrange(2, 5))}
                links = {path: blocks_of(data)[0] for path, data in files.items()}
                root = build_tree(links, UNIXFS_V1_2025).root.cid
                form, kind = form_of(files.items())
                bodies = {f"{root}/{quote(path)}": data for path, data in files.items()}
                return Attempt(bodies), ("POST", "/ipfs/", form, kind)
            case _:
                return Attempt({str(link.cid): body}), ("PUT", f"/ipfs/{self.root}/new/file.bin", body, "")

    def _body(self, dice: random.Random) -> bytes:
        size = dice.choice([0, 1, 1000, 200_000, 1_048_577, dice.randrange(self._largest)])
        # Unlike all others, so that each stands for itself.
        return dice.randbytes(16) + dice.randbytes(size)

    def _send(self, method: str, target: str, body: bytes, kind: str) -> str:
        headers = {"Content-Type": kind or "application/octet-stream"}
        status, answer, text = self._server.ask(method, target, body, headers)
        if status != 201:
            raise AssertionError(f"{method} {target} answered {status}: {text!r}")
        return answer["IPFS-Hash"]


def check(server: Served, attempts: list[Attempt], figures: Figures) -> None:
    """After a restart: answered uploads are whole; the others whole or not there."""
    for attempt in attempts:
        found = {path: server.get(f"/ipfs/{path}") for path in attempt.bodies}
        whole = [found[path] == (200, data) for path, data in attempt.bodies.items()]
        figures.read_back += sum(whole)
        if attempt.answered and not all(whole):
            figures.problems.append(
                f"answered and not whole: {[(path, got[0]) for path, got in found.items()]}"
            )
        elif not attempt.answered and any(whole) and all(whole):
            figures.lost_answers += 1
        elif not attempt.answered and all(status == 404 for status, _ in found.values()):
            figures.vanished += 1
        elif not attempt.answered:
            figures.problems.append(f"half there: {[(path, got[0]) for path, got in found.items()]}")


def check_objects(data: Path, place: Place, figures: Figures) -> None:
    """The store and the index name the same objects, and nothing is unfinished."""
    figures.unfinished += len(place.look().unfinished)
    done = command(data, "sweep", BOOTSTRAP_API_KEY=KEY, **place.settings)
    if done.returncode:
        figures.problems.append(f"sweep failed: {done.stderr}")
        return
    figures.swept += int(done.stderr.split()[-4] if done.stderr.split() else 0)
    stored = place.look()
    known, unsettled = asyncio.run(_indexed(data))
    if stored.unfinished:
        figures.problems.append(f"unfinished: {sorted(stored.unfinished)}")
    if stored.keys != known:
        figures.problems.append(
            f"only stored: {sorted(stored.keys - known)}; only known: {sorted(known - stored.keys)}"
        )
    if unsettled:
        figures.problems.append(f"{unsettled} objects are still unsettled")


async def _indexed(data: Path) -> tuple[set[str], int]:
    async with embedded_postgres(data / "postgres") as dsn:
        connection = await asyncpg.connect(dsn)
        try:
            keys = {str(row["key"]) for row in await connection.fetch("SELECT key FROM objects")}
            return keys, int(await connection.fetchval("SELECT count(*) FROM unsettled_objects"))
        finally:
            await connection.close()


def kill_loop(
    data: Path, rounds: int, seed: int = 0, place: Place | None = None, answered: int = 0
) -> Figures:
    """Every round: start, check what the last one left, upload, kill once `answered` uploads were answered.
    Ends with a last check."""
    place = place or folder(data)
    figures = Figures()
    dice = random.Random(seed)
    before: list[Attempt] = []
    older: list[Attempt] = []
    for number in range(rounds + 1):
        began = time.monotonic()
        server = Served(data, BOOTSTRAP_API_KEY=KEY, **place.settings)
        figures.slowest_start = max(figures.slowest_start, time.monotonic() - began)
        try:
            check(server, before, figures)
            check(server, dice.sample(older, min(len(older), 3)), Figures(problems=figures.problems))
            check_objects(data, place, figures)
            older = _newest([*older, *(attempt for attempt in before if attempt.answered)])
            if number == rounds:
                break
            uploads = Uploads(server, place, seed * 1000 + number)
            uploads.run(dice.uniform(0.02, place.longest), answered)
        finally:
            server.kill()
        before = uploads.attempts
        figures.problems += uploads.problems
        figures.rounds += 1
        figures.answered += sum(attempt.answered for attempt in before)
        figures.bytes += sum(attempt.size for attempt in before if attempt.answered)
        if figures.rounds % ROUNDS_PER_LINE == 0 and figures.rounds < rounds:
            print(figures, flush=True)
    return figures


def _newest(attempts: list[Attempt]) -> list[Attempt]:
    kept: list[Attempt] = []
    room = KEPT_BYTES
    for attempt in reversed(attempts):
        room -= attempt.size
        if room < 0:
            break
        kept.append(attempt)
    return kept[::-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--s3", action="store_true", help="objects in a bucket: of versitygw, else of moto")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cidgate-kill-") as folder_name:
        data = Path(folder_name)
        opening: AbstractContextManager[Place] = (
            bucket(data, versitygw()) if arguments.s3 else nullcontext(folder(data))
        )
        with opening as place:
            figures = kill_loop(data, arguments.rounds, arguments.seed, place)
    print(f"seed {arguments.seed}: {figures}")
    for problem in figures.problems:
        print(problem)
    raise SystemExit(bool(figures.problems))


if __name__ == "__main__":
    main()
