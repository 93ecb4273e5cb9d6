"""Ports for servers that tests start, and whether it is they who listen there."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

SECONDS = 60.0
T = TypeVar("T")


class PortTaken(Exception):
    """Somebody was quicker to take the port that was free."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    """Raises PortTaken where it ends instead; a process that fails to listen is killed."""
    until = time.monotonic() + SECONDS
    try:
        while not listens(process.pid, port):
            if process.poll() is not None:
                raise PortTaken
            if time.monotonic() > until:
                raise TimeoutError(f"{process.args!r} does not listen on port {port}")
            time.sleep(0.05)
    except BaseException:
        kill(process)
        raise


def with_free_ports(start: Callable[[], T], tries: int = 5) -> T:
    """What `start` gives, which chooses the ports; again where one was taken meanwhile."""
    while True:
        tries -= 1
        try:
            return start()
        except PortTaken:
            if not tries:
                raise


def listens(process: int, port: int) -> bool:
    """Whether one of the sockets of the process, and of nobody else, listens on the port of 127.0.0.1."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    # The state 0A is LISTEN; addresses are in hexadecimal (proc(5)).
    inodes = {found[9] for found in fields if found[3] == "0A" and found[1].endswith(f":{port:04X}")}
    try:
        names = [os.readlink(path) for path in Path(f"/proc/{process}/fd").iterdir()]
    except OSError:
        return False
    return any(f"socket:[{inode}]" in names for inode in inodes)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end; one that does not is killed, which is said."""
    process.terminate()
    try:
        process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        kill(process)
        raise


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
