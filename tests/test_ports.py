from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests import ports

LISTENS = (
    "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(60)"
)


@pytest.fixture
def stranger() -> Iterator[int]:
    """A port where somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_a_server_of_ours(stranger: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", LISTENS, str(port := ports.free_port())])
    ports.wait_until_it_listens(process, port)
    assert ports.listens(process.pid, port)
    assert not ports.listens(process.pid, stranger)
    ports.end(process)
    assert not ports.listens(process.pid, port)


def test_a_port_that_somebody_took_is_left_to_them(stranger: int) -> None:
    chosen = iter([stranger, stranger, ports.free_port()])
    started = []

    def start() -> int:
        port = next(chosen)
        started.append(
            subprocess.Popen([sys.executable, "-c", LISTENS, str(port)], stderr=subprocess.DEVNULL)
        )
        ports.wait_until_it_listens(started[-1], port)
        return port

    assert ports.with_free_ports(start) != stranger
    assert [process.poll() is None for process in started] == [False, False, True]
    ports.end(started[-1])


def test_one_that_never_listens_is_left_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "SECONDS", 0.3)
    process = subprocess.Popen(["sleep", "60"])
    with pytest.raises(TimeoutError):
        ports.wait_until_it_listens(process, ports.free_port())
    assert process.returncode == -9
