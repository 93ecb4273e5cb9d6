"""Several processes on one port."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from types import FrameType

from prometheus_client.multiprocess import mark_process_dead

logger = logging.getLogger(__name__)

# A worker that dies sooner than this after its start is not started again at once; where none has
# lived that long, and one says by its exit status that it cannot start, all end.
_QUICK_SECONDS = 2.0
_POLL_SECONDS = 0.1
# How long a worker may take to end beside its open requests.
_END_SECONDS = 15.0


class Workers:
    """Starts `count` workers, starts those that die anew, and ends them all on SIGTERM or SIGINT: one that
    does not end is killed a little later than `grace` seconds, which it gives its open requests.

    Each inherits the bound socket's port by number, and the reading end of a pipe that closes
    when this process is gone, so that none is ever left behind.
    """

    def __init__(self, count: int, port: int, environ: Mapping[str, str], grace: float) -> None:
        self._count = count
        self._port = port
        self._grace = grace
        self._environ = environ
        self._running: dict[subprocess.Popen[bytes], float] = {}
        self._due: list[float] = []
        self._proven = False
        self._stopping = False

    def run(self) -> int:
        """Until told to stop; 0, or 1 where workers cannot start."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        reading, writing = os.pipe()
        with tempfile.TemporaryDirectory(prefix="cidgate-metrics-") as figures:
            for number in range(self._count):
                self._start(reading, figures, announce=number == 0)
            failed = self._watch(reading, figures)
            self._end()
        os.close(reading)
        os.close(writing)
        return int(failed)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _watch(self, reading: int, figures: str) -> bool:
        while not self._stopping:
            time.sleep(_POLL_SECONDS)
            now = time.monotonic()
            self._proven = self._proven or any(
                now - start > _QUICK_SECONDS for start in self._running.values()
            )
            for worker in [worker for worker in self._running if worker.poll() is not None]:
                lived = now - self._running.pop(worker)
                logger.error("worker %d ended with %d", worker.pid, worker.returncode)
                # Its gauges must not be counted for ever.
                forget_gauges: Callable[[int, str], None] = mark_process_dead
                forget_gauges(worker.pid, figures)
                if not self._proven and worker.returncode > 0:
                    return True
                self._due.append(now if lived > _QUICK_SECONDS else now + _QUICK_SECONDS)
            for due in [due for due in self._due if due <= now]:
                self._due.remove(due)
                self._start(reading, figures)
        return False

    def _end(self) -> None:
        for worker in self._running:
            worker.terminate()
        until = time.monotonic() + self._grace + _END_SECONDS
        for worker in self._running:
            try:
                worker.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                logger.error("worker %d did not end and is killed", worker.pid)  # noqa: TRY400 - it hangs
                worker.kill()
                worker.wait()

    def _start(self, reading: int, figures: str, *, announce: bool = False) -> None:
        environ = {
            **self._environ,
            "GATEWAY_PORT": str(self._port),
            "PROMETHEUS_MULTIPROC_DIR": figures,
        }
        command = [sys.executable, "-m", "gateway", "worker", "--parent", str(reading)]
        if announce:
            command.append("--announce")
        worker = subprocess.Popen(command, env=environ, pass_fds=[reading])  # noqa: S603 - our own program
        self._running[worker] = time.monotonic()
