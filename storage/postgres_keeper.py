"""The keeper: a small process that runs the embedded server for as long as anybody uses it.

It is detached from the process that started it, so that the server belongs to no single user. It
needs nothing but the standard library, is single-threaded (the parent-death signal is tied to the
thread that forks) and imports little, since a start waits for it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time

from storage.postgres_account import AccountUnavailable, become, die_with_parent, give, owner_for

ROLE = "cidgate"
LOG = "postgres.log"
SOCKET = ".s.PGSQL.5432"
_LOG_BYTES = 8 << 20
_POLL_SECONDS = 0.1
_QUICK_DEATHS = 5
_QUICK_SECONDS = 10.0
_STOPS = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0))
_WATCHED = (signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_SETTINGS = {
    "listen_addresses": "",
    # Relative to the data directory: a socket's path may have 107 bytes, and this one is short.
    "unix_socket_directories": "../socket",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "superuser_reserved_connections": "0",
    "shared_buffers": "64MB",
    "huge_pages": "off",
    "io_method": "sync",
    "jit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "512MB",
    "min_wal_size": "32MB",
    "max_logical_replication_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class KeeperFailed(Exception):
    """The server cannot be run; the text goes to the log, where the starting process reads it."""


def main(directory: str, binaries: str, user_namespaces: bool) -> None:
    os.chdir(directory)
    # Whoever ignores the end of its children has it inherited, and then none can be waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Blocked, not ignored: they are awaited in `_keep`. A terminal or systemd that signals the
    # whole group must not take the database from a gateway that is still draining.
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    keeper = lock_file(directory, "keeper.lock")
    if not try_lock(keeper, fcntl.LOCK_EX):
        return
    try:
        owner = owner_for(directory, user_namespaces=user_namespaces)
        _prepare(directory, binaries, owner)
        _keep(directory, binaries, owner)
    except (KeeperFailed, AccountUnavailable, OSError) as error:
        sys.exit(f"cidgate: {error}")


def lock_file(directory: str, name: str) -> int:
    """Opened and not locked. Root leaves no file behind that the directory's owner cannot open."""
    path = os.path.join(directory, name)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    give(path, os.stat(directory).st_uid)
    return descriptor


def try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _prepare(directory: str, binaries: str, owner: int) -> None:
    data = os.path.join(directory, "data")
    if os.path.exists(data):
        give(data, owner)
        return
    # Under another name until it is whole: a crash in initdb leaves nothing that looks like a database.
    fresh = f"{data}.new"
    _remove(fresh)
    os.mkdir(fresh, 0o700)
    give(fresh, owner)
    child = _spawn(_initdb(binaries, fresh), owner, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if status != 0:
        _remove(fresh)
        raise KeeperFailed("initdb failed")
    os.rename(fresh, data)
    descriptor = os.open(directory, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _initdb(binaries: str, data: str) -> list[str]:
    options = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions"]
    return [os.path.join(binaries, "initdb"), "-D", data, "-U", ROLE, *options]


def _keep(directory: str, binaries: str, owner: int) -> None:
    """Run the server until the exclusive lock on its users can be had; mend it when it dies."""
    users = lock_file(directory, "users.lock")
    deaths = 0
    while deaths < _QUICK_DEATHS:
        started = time.monotonic()
        server = _serve(directory, binaries, owner)
        if _wait_until_unused(users, server):
            _stop(server)
            return
        deaths = deaths + 1 if time.monotonic() - started < _QUICK_SECONDS else 1
        sys.stderr.write(f"cidgate: the server ended by itself ({deaths} of {_QUICK_DEATHS} in a row)\n")
        time.sleep(_POLL_SECONDS * deaths)
    raise KeeperFailed("the server keeps ending by itself")


def _serve(directory: str, binaries: str, owner: int) -> int:
    lock = lock_file(directory, "server.lock")
    # Inherited by the server and all of its processes: when it is free, no process of an earlier
    # server is left, whatever its pid says (pids are reused in containers, zombies keep theirs).
    while not try_lock(lock, fcntl.LOCK_EX):
        time.sleep(0.01)
    for stale in ("data/postmaster.pid", f"socket/{SOCKET}", f"socket/{SOCKET}.lock"):
        _unlink(os.path.join(directory, stale))
    os.set_inheritable(lock, True)
    settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
    server = _spawn(
        [os.path.join(binaries, "postgres"), "-D", os.path.join(directory, "data"), *settings],
        owner,
        signal.SIGINT,
    )
    os.close(lock)
    return server


def _wait_until_unused(users: int, server: int) -> bool:
    """False when the server ended first."""
    while not try_lock(users, fcntl.LOCK_EX):
        signal.sigtimedwait(_WATCHED, _POLL_SECONDS)
        if os.waitpid(server, os.WNOHANG) != (0, 0):
            return False
        _bound_log()
    return True


def _stop(server: int) -> None:
    """A fast shutdown; the immediate one, then death, where that does not come to its end.

    Nothing is lost by either: what was committed is in the log of the database.
    """
    for sent, seconds in _STOPS:
        os.kill(server, sent)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if os.waitpid(server, os.WNOHANG) != (0, 0):
                return
            signal.sigtimedwait(_WATCHED, _POLL_SECONDS)
    os.kill(server, signal.SIGKILL)
    os.waitpid(server, 0)


def _spawn(command: list[str], owner: int, on_death: signal.Signals) -> int:
    keeper = os.getpid()
    child = os.fork()
    if child != 0:
        return child
    try:
        # A shell starts what is in its background with some of them ignored: until the server has handlers of
        # its own, the signal that stops it would be lost.
        for sent in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
            signal.signal(sent, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        become(owner)
        die_with_parent(on_death)
        if os.getppid() == keeper:
            os.execv(command[0], command)  # noqa: S606 - there is no shell to start it with
    except BaseException as error:
        os.write(2, f"cidgate: cannot run {command[0]} for uid {owner}: {error}\n".encode())
    os._exit(127)


def _bound_log() -> None:
    """Standard error is the log, opened for appending; the server writes to the same file."""
    if os.fstat(2).st_size < _LOG_BYTES:
        return
    with open(LOG, "rb") as full, open(f"{LOG}.1", "wb") as old:
        os.sendfile(old.fileno(), full.fileno(), 0, _LOG_BYTES)
    os.ftruncate(2, 0)


def _remove(tree: str) -> None:
    for folder, folders, files in os.walk(tree, topdown=False):
        for name in files:
            os.unlink(os.path.join(folder, name))
        for name in folders:
            path = os.path.join(folder, name)
            os.unlink(path) if os.path.islink(path) else os.rmdir(path)
    if os.path.isdir(tree):
        os.rmdir(tree)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
