"""As which user the embedded server runs: as ourselves, or, because PostgreSQL refuses root, as one without rights."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from settlement.db.errors import EmbeddedError

ACCOUNT_NAME = "settlement-db"
"""The system user that the server runs as when we are root; made if it does not exist."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user a server process runs as."""

    name: str
    uid: int
    gid: int


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What our PostgreSQL processes see: no PG* variable of the user's shell leaks in."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", **(extra or {})}


def run_as(
    account: Account | None, command: Sequence[str | Path], *, stdin: str | None = None, stderr: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command as the account (None: as ourselves) in a session of its own, so that Ctrl-C does not reach it.

    ``stderr``: a file descriptor to write to instead of capturing. Raises ``EmbeddedError`` if it cannot be started.
    """
    try:
        return subprocess.run(  # noqa: S603  # our own binaries, no shell, no outside input
            [str(part) for part in command],
            input=stdin if stdin is not None else "",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if stderr is None else stderr,
            text=True,
            check=False,
            env=environment(),
            cwd="/",
            umask=0o077,
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    except OSError as error:
        who = f" as user {account.name}" if account else ""
        raise EmbeddedError(f"cannot run {command[0]}{who}: {error.strerror}") from error


def account_for(places: Sequence[Path]) -> Account | None:
    """None unless we are root; the owner of the first of the places that exists, or, where that is root, our own user.

    ``places``: the innermost first. Existing data are never handed to another user: whoever owns them runs the server.
    """
    if os.geteuid() != 0:
        return None
    found = next((place for place in places if place.exists()), None)
    if found is not None and (owner := found.stat()).st_uid != 0:
        return Account(_name_of(owner.st_uid), owner.st_uid, owner.st_gid)
    return _own_account()


def can_enter(account: Account, folder: Path) -> bool:
    """Tried, not computed: access lists and mount options count too."""
    return run_as(account, ["/bin/sh", "-c", 'cd -- "$1"', "sh", folder]).returncode == 0


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _own_account() -> Account:
    if (account := _lookup(ACCOUNT_NAME)) is not None:
        return account
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin")
    if useradd is not None:
        options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
        run_as(None, [useradd, *options, "--shell", "/usr/sbin/nologin", ACCOUNT_NAME])
    # /etc may be read-only, or useradd missing: PostgreSQL's own user or nobody will do for a data directory of ours
    for name in (ACCOUNT_NAME, "postgres", "nobody"):
        if (account := _lookup(name)) is not None:
            return account
    raise EmbeddedError(
        "PostgreSQL refuses to run as root, and no other user could be found or made; "
        f"make one with: useradd --system {ACCOUNT_NAME}"
    )


def _lookup(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(name, entry.pw_uid, entry.pw_gid)
