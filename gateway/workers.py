"""Several processes on one port."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from types import FrameType

logger = logging.getLogger(__name__)

# A worker that dies sooner than this after its start is not started again at once.
_QUICK_SECONDS = 2.0
_POLL_SECONDS = 0.1


class Workers:
    """Starts `count` workers, starts those that die anew, and ends them all on SIGTERM or SIGINT.

    Each inherits the bound socket's port by number, and the reading end of a pipe that closes
    when this process is gone, so that none is ever left behind.
    """

    def __init__(self, count: int, port: int, environ: Mapping[str, str]) -> None:
        self._count = count
        self._port = port
        self._environ = environ
        self._running: dict[subprocess.Popen[bytes], float] = {}
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
            for worker in self._running:
                worker.terminate()
            for worker in self._running:
                worker.wait()
        os.close(reading)
        os.close(writing)
        return int(failed)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _watch(self, reading: int, figures: str) -> bool:
        while not self._stopping:
            time.sleep(_POLL_SECONDS)
            for worker in [worker for worker in self._running if worker.poll() is not None]:
                lived = time.monotonic() - self._running.pop(worker)
                logger.error("worker %d ended with %d", worker.pid, worker.returncode)
                if lived < _QUICK_SECONDS:
                    return True
                self._start(reading, figures)
        return False

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
