"""Runs the Postgres that ships with the gateway: `python -m tests.postgres_server FOLDER`.

A process of its own, so that nothing that a test does to its process is done to the server of all tests.
Prints the DSN, and stops once its standard input ends.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.embedded_postgres import embedded_postgres

ROOT = Path(__file__).parents[1]


def command(folder: Path) -> list[str]:
    """To be run in ROOT."""
    return [sys.executable, "-m", "tests.postgres_server", str(folder)]


@contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """The DSN of one that runs while this context is open."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command(folder), cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        dsn = process.stdout.readline().strip()
        assert dsn, "Postgres did not start; what it said is above"
        yield dsn
        process.stdin.close()
        assert process.wait(60) == 0


async def _run(folder: Path) -> None:
    async with embedded_postgres(folder) as dsn:
        print(dsn, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_run(Path(sys.argv[1])))
