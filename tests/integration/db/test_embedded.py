"""The embedded server: shared, restarted after every kind of death, never confused by what a crash left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from settlement.db.account import account_for
from settlement.db.embedded import EmbeddedPostgres
from settlement.db.errors import EmbeddedError
from settlement.db.placement import find_placement
from settlement.db.postmaster import is_alive, is_postmaster, recorded_pid
from tests.support.database import open_folder

DEADLINE_S = 30.0
HOLDER = """
import sys
from pathlib import Path
from settlement.db.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
print(server.start(), flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture
def new_data_dir(open_tmp_path: Path) -> Iterator[Path]:
    """A data directory that does not exist yet; its server is removed afterwards."""
    path = open_tmp_path / "data"
    yield path
    EmbeddedPostgres(path).remove()


@pytest.fixture(scope="module")
def prepared() -> Iterator[Path]:
    """A data directory whose server was started once: making one anew for each test would take too long."""
    with open_folder() as folder:
        server = EmbeddedPostgres(folder / "data")
        server.start()
        server.stop()
        yield folder / "data"


@pytest.fixture
def data_dir(prepared: Path, new_data_dir: Path) -> Path:
    """A copy of the prepared data directory, its server not running."""
    subprocess.run(["/bin/cp", "-a", str(prepared), str(new_data_dir)], check=True)
    return new_data_dir


@pytest.fixture
def hold() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Starts another process that uses the server until its input is closed or it is killed."""
    started = []

    def start(path: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def running(data_dir: Path) -> int | None:
    place = find_placement(data_dir)
    pid = recorded_pid(place.pgdata)
    return pid if pid is not None and is_postmaster(pid, place.pgdata) else None


def query(dsn: str, statement: str) -> object:
    async def ask() -> object:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(ask())


def failure(dsn: str, statement: str) -> object:
    """What a statement gives, if only an error."""
    try:
        return query(dsn, statement)
    except (OSError, asyncpg.PostgresError) as error:
        return error


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.02)


def test_a_first_start_gives_a_sensible_server_and_a_role_without_special_rights(new_data_dir: Path) -> None:
    with EmbeddedPostgres(new_data_dir) as server:
        dsn = server.start()
        shown = {
            name: query(dsn, f"SELECT current_setting('{name}')")
            for name in ("fsync", "synchronous_commit", "full_page_writes", "jit", "TimeZone", "max_connections")
        }
        assert shown == {
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "jit": "off",
            "TimeZone": "UTC",
            "max_connections": "100",
        }
        assert query(dsn, "SELECT current_setting('listen_addresses')") == ""
        assert query(dsn, "SELECT current_setting('server_encoding')") == "UTF8"
        assert query(dsn, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
        with pytest.raises(asyncpg.InvalidPasswordError):
            query(dsn.replace("settlement:", "settlement:not-", 1), "SELECT 1")
    assert running(new_data_dir) is None


def test_secrets_are_kept_in_files_that_only_their_owner_can_read(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir):
        home = find_placement(data_dir).home
        for file in home.iterdir():
            if file.is_file():
                assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
        assert not (home / "lent.password").exists()
        assert stat.S_IMODE((home / "data").stat().st_mode) == 0o700


def test_a_second_start_joins_and_the_last_to_stop_shuts_down(data_dir: Path) -> None:
    first, second = EmbeddedPostgres(data_dir), EmbeddedPostgres(data_dir)
    dsn = first.start()
    pid = running(data_dir)
    assert second.start() == first.start() == dsn
    assert running(data_dir) == pid
    first.stop()
    first.stop()
    assert query(dsn, "SELECT 1") == 1
    second.stop()
    assert running(data_dir) is None


def test_what_was_not_started_is_not_stopped(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as server:
        EmbeddedPostgres(data_dir).stop()
        assert query(server.start(), "SELECT 1") == 1


def test_the_server_stays_for_other_processes(data_dir: Path, hold: Callable[[Path], subprocess.Popen[str]]) -> None:
    with EmbeddedPostgres(data_dir) as server:
        dsn = server.start()
        other = hold(data_dir)
        assert other.stdout is not None
        assert other.stdout.readline().strip() == dsn
    assert query(dsn, "SELECT 1") == 1
    other.communicate("")
    assert other.returncode == 0
    assert running(data_dir) is None


def test_kill_9_of_the_process_that_started_it_leaves_a_server_that_the_next_one_joins(
    data_dir: Path, hold: Callable[[Path], subprocess.Popen[str]]
) -> None:
    starter = hold(data_dir)
    assert starter.stdout is not None
    dsn = starter.stdout.readline().strip()
    query(dsn, "CREATE TABLE kept AS SELECT 42 AS n")
    pid = running(data_dir)
    starter.kill()
    starter.communicate()
    with EmbeddedPostgres(data_dir) as server:
        assert server.start() == dsn
        assert running(data_dir) == pid
        assert query(dsn, "SELECT n FROM kept") == 42
    assert running(data_dir) is None


def test_kill_9_of_the_server_loses_nothing_that_was_committed(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as server:
        dsn = server.start()
        query(dsn, "CREATE TABLE kept AS SELECT 42 AS n")
        pid = running(data_dir)
        assert pid is not None
        kill(pid)
        assert query(server.start(), "SELECT n FROM kept") == 42
        assert running(data_dir) not in {None, pid}


def test_children_that_outlive_a_killed_server_are_waited_for(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as server:
        dsn = server.start()
        query(dsn, "CREATE TABLE kept AS SELECT 42 AS n")
        # counts without looking up, so that it does not notice the death of its parent at once
        busy = threading.Thread(
            target=lambda: outcome.append(failure(dsn, "SELECT count(*) FROM generate_series(1,6e6)"))
        )
        outcome: list[object] = []
        busy.start()
        wait_until(lambda: query(dsn, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%generate%'") == 2)
        pid = running(data_dir)
        assert pid is not None
        kill(pid)
        assert query(server.start(), "SELECT n FROM kept") == 42
        busy.join()
    assert outcome


def test_process_numbers_in_lock_files_that_belong_to_other_programs_now_do_not_block_the_start(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as server:
        server.start()
        place = find_placement(data_dir)
        pid = running(data_dir)
        assert pid is not None
        kill(pid)
        # a program of the same user: PostgreSQL itself would take it for a running server
        user = {"user": place.account.uid, "group": place.account.gid} if place.account else {}
        other = subprocess.Popen(["/bin/sleep", "600"], **user)  # type: ignore[call-overload]
        try:
            for lock in (place.pgdata / "postmaster.pid", *place.home.glob("run/.s.PGSQL.*.lock")):
                _, rest = lock.read_text().split("\n", 1)
                lock.write_text(f"{other.pid}\n{rest}")
            assert query(server.start(), "SELECT 1") == 1
        finally:
            other.kill()
            other.wait()


def test_an_interrupted_first_start_is_begun_again(new_data_dir: Path) -> None:
    home = new_data_dir / "postgres"
    (home / "data.new" / "base").mkdir(parents=True)
    (home / "data.new" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(new_data_dir) as server:
        assert query(server.start(), "SELECT 1") == 1
    assert not (home / "data.new").exists()


def test_a_start_interrupted_before_the_role_was_made_is_completed(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as server:
        server.start()
        (find_placement(data_dir).home / "settlement.password").unlink()
        assert query(server.start(), "SELECT current_user") == "settlement"


def test_data_of_another_major_version_are_refused(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as server:
        server.start()
    version = find_placement(data_dir).pgdata / "PG_VERSION"
    version.write_text("17\n")
    with pytest.raises(EmbeddedError, match=r"made by PostgreSQL 17, but this release brings .*18"):
        server.start()
    version.unlink()
    with pytest.raises(EmbeddedError, match="PG_VERSION is missing"):
        server.start()


def test_a_server_that_cannot_start_says_why(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as server:
        server.start()
    with (find_placement(data_dir).pgdata / "postgresql.conf").open("a") as file:
        file.write("shared_buffers = nonsense\n")
    with pytest.raises(EmbeddedError, match="shared_buffers"):
        server.start()
    assert server.remove()  # whoever failed to start does not count as a user


def test_a_start_that_fails_leaves_no_server_behind(data_dir: Path) -> None:
    for password in find_placement(data_dir).home.glob("*.password"):
        password.write_text("wrong\n")
    with pytest.raises(EmbeddedError, match="password authentication failed"):
        EmbeddedPostgres(data_dir).start()
    wait_until(lambda: running(data_dir) is None)


@pytest.mark.parametrize("name", ["with blanks, commas and 'quotes'", "数据", "long" * 40])
def test_any_path_will_do(new_data_dir: Path, name: str) -> None:
    place = new_data_dir / name
    with EmbeddedPostgres(place) as server:
        assert query(server.start(), "SELECT 1") == 1
    assert EmbeddedPostgres(place).remove()
    assert not (place / "postgres").exists()


def test_many_starters_at_once_get_one_server(data_dir: Path, hold: Callable[[Path], subprocess.Popen[str]]) -> None:
    processes = [hold(data_dir) for _ in range(3)]
    threads = [EmbeddedPostgres(data_dir) for _ in range(4)]
    found: list[str] = []
    workers = [threading.Thread(target=lambda s=server: found.append(s.start())) for server in threads]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for process in processes:
        assert process.stdout is not None
        found.append(process.stdout.readline().strip())
    assert len(found) == 7
    assert len(set(found)) == 1
    for server in threads:
        server.stop()
    for process in processes:
        process.communicate("")
    assert running(data_dir) is None


def test_removal_is_refused_while_in_use_and_complete_afterwards(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    server.start()
    with pytest.raises(EmbeddedError, match="in use"):
        EmbeddedPostgres(data_dir).remove()
    server.stop()
    assert server.remove() is True
    assert server.remove() is False
    assert list(data_dir.iterdir()) == []


def test_data_under_a_folder_that_the_servers_user_may_not_enter(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    inner = closed / "data"
    account = account_for([])
    with EmbeddedPostgres(inner) as server:
        assert query(server.start(), "SELECT 1") == 1
        home = find_placement(inner).home
        if account is None:  # we are no root: the server runs as ourselves and enters where we do
            assert home == inner / "postgres"
            return
        assert home.is_relative_to("/var/lib/settlement")
        assert (inner / "postgres.location").read_text().strip() == str(home)
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    moved = home.rename(home.with_name("moved-away-by-a-test"))
    with pytest.raises(EmbeddedError, match=r"says that the database is kept in .*, which is not there"):
        server.start()
    moved.rename(home)
    with EmbeddedPostgres(inner) as again:
        assert query(again.start(), "SELECT 1") == 1
    assert EmbeddedPostgres(inner).remove()
    assert not home.exists()
    assert list(inner.iterdir()) == []


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError, match="cannot make the data directory"):
        EmbeddedPostgres(tmp_path / "file" / "data").start()
