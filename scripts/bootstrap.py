"""Makes and keeps the virtual environment ``.venv``: locked packages, checked by hash, and the project itself.

Uses the standard library only. Safe to interrupt (the next run starts over) and to run twice at once (the second
waits). Does nothing when the locks have not changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
STAMP = VENV / "bootstrap.json"
"""What is installed; written last."""
UNFINISHED = VENV / ".unfinished"
"""Stands there while something is being installed: an environment that still has it was interrupted."""
LOCKS = {
    "runtime": ROOT / "requirements" / "runtime.txt",
    "dev": ROOT / "requirements" / "dev.txt",
}
"""Which packages to install; ``dev`` holds all of ``runtime``, at the same versions."""
PCSC_LOCK = ROOT / "requirements" / "pcsc.txt"
PCSC_BUILD_LOCK = ROOT / "requirements" / "pcsc-build.txt"
"""Built from source, so only where a compiler and the headers of the PC/SC library are."""
NODE_PACKAGES = ROOT / "tests" / "interop"
"""Independent implementations for the tests; only where npm is."""
PROJECTS = (ROOT, ROOT / "terminal_sdk")
"""The two packages of this repository, in the order that suits older environments, where the first held both."""


class BootstrapError(Exception):
    """The environment cannot be made; the message says what to do."""


def main(arguments: list[str]) -> int:
    """Prepare the environment for ``runtime`` or ``dev``; the exit code."""
    if len(arguments) != 1 or arguments[0] not in LOCKS:
        sys.stderr.write("usage: scripts/bootstrap runtime|dev\n")
        return 2
    try:
        with one_at_a_time():
            prepare(arguments[0])
    except BootstrapError as error:
        sys.stderr.write(f"\n{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted; the next run starts over.\n")
        return 130
    return 0


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait for another run in this folder; the lock ends with the process, however it ends."""
    with (ROOT / ".bootstrap.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is preparing .venv; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def prepare(which: str) -> None:
    """Bring ``.venv`` to what the lock and pyproject.toml say; quick when it is there already."""
    wanted = {"environment": str(VENV), which: digest(LOCKS[which])}
    wanted |= {f"project {project.name}": digest(project / "pyproject.toml") for project in PROJECTS}
    if which == "dev":
        wanted |= optional_parts()
    installed = read_stamp() if usable() else {}
    if wanted.items() <= installed.items():
        return
    if installed.get("environment") != str(VENV):
        installed = {}  # nothing, or made by somebody else, or moved here: what its stamp says does not count
        if not reusable():
            create()
    UNFINISHED.touch()
    if installed.get(which) != wanted[which]:
        count = sum(1 for line in LOCKS[which].read_text("utf-8").splitlines() if line[:1].isalnum())
        say(f"installing {count} packages of requirements/{LOCKS[which].name}")
        pip("--require-hashes", "--only-binary", ":all:", "--requirement", str(LOCKS[which]))
    # hatchling came with the lock: no network, no build environment of its own
    for project in PROJECTS:
        pip("--no-index", "--no-deps", "--no-build-isolation", "--editable", str(project))
    if which == "dev":
        wanted["runtime"] = digest(LOCKS["runtime"])
        install_optional_parts(wanted, installed)
    write_stamp({**installed, **wanted})
    UNFINISHED.unlink()
    say("ready")


def optional_parts() -> dict[str, str]:
    """What this machine can have beyond the lock: a key for the stamp each, empty where it cannot."""
    pcsc = shutil.which("cc") and Path("/usr/include/PCSC/winscard.h").exists()
    node = shutil.which("npm") and shutil.which("node")
    return {
        "pcsc": digest(PCSC_LOCK) if pcsc else "",
        "node": digest(NODE_PACKAGES / "package-lock.json") if node else "",
    }


def install_optional_parts(wanted: dict[str, str], installed: dict[str, str]) -> None:
    """Install the optional parts that changed, and say which ones are left out and how to have them."""
    as_root = "" if os.geteuid() == 0 else "sudo "
    if not wanted["pcsc"]:
        say(f"left out: PC/SC readers ({as_root}apt-get install gcc libpcsclite-dev)")
    elif wanted["pcsc"] != installed.get("pcsc"):
        say("building the PC/SC binding")
        pip("--require-hashes", "--only-binary", ":all:", "--requirement", str(PCSC_BUILD_LOCK))
        # --no-build-isolation: what builds it came with the line before, checked by hash
        pip("--require-hashes", "--no-build-isolation", "--requirement", str(PCSC_LOCK))
    if not wanted["node"]:
        say(f"left out: Node.js packages that the interoperability tests use ({as_root}apt-get install nodejs npm)")
    elif wanted["node"] != installed.get("node"):
        say("installing the Node.js packages of the interoperability tests")
        npm_ci()


def npm_ci() -> None:
    """Install the locked Node.js packages; nothing of theirs is run."""
    command = ["npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=NODE_PACKAGES, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise BootstrapError("npm could not install the packages. Is the package registry reachable from here?")


def usable() -> bool:
    """Whether ``.venv`` was finished, lies where it was made, and its Python still runs and is the one asked for."""
    if UNFINISHED.exists() or not VENV_PYTHON.exists():
        return False
    asked = os.environ.get("PYTHON")
    shown = output(VENV_PYTHON, "-I", "-c", "import sys; print(sys.prefix, *sys.version_info[:2], sep='\\n')")
    if shown is None:
        return False
    prefix, *version = shown.split("\n")
    if Path(prefix).resolve() != VENV.resolve():
        return False
    ours = [str(part) for part in sys.version_info[:2]]
    return version == ours if asked else (3, 11) <= tuple(map(int, version)) <= (3, 13)


def reusable() -> bool:
    """Whether an environment that we did not make will do. A moved or copied one will not: its commands hold paths."""
    shown = output(VENV / "bin" / "pip", "--version")
    return usable() and shown is not None and str(VENV) in shown


def create() -> None:
    """Make an empty environment, in place of whatever is there."""
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        raise BootstrapError(advice(missing))
    say(f"making .venv with Python {'.'.join(map(str, sys.version_info[:3]))} ({sys.executable})")
    if VENV.is_symlink() or VENV.is_file():
        VENV.unlink()
    elif VENV.exists():
        shutil.rmtree(VENV)
    VENV.mkdir()
    UNFINISHED.touch()
    done = subprocess.run([sys.executable, "-I", "-m", "venv", str(VENV)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BootstrapError(f"{(done.stdout + done.stderr).strip()}\n\nThe virtual environment could not be made.")


def advice(missing: list[str]) -> str:
    """What to install so that virtual environments can be made."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    executable = Path(sys.executable).resolve()
    lacks = f"Python {version} ({sys.executable}) lacks {' and '.join(missing)}, which virtual environments need."
    if executable.parent != Path("/usr/bin"):
        return f"{lacks} It is not the system's Python: mend it, or name another one: make PYTHON=/path/to/python"
    is_default = Path("/usr/bin/python3").resolve() == executable
    package = "python3-venv" if is_default else f"python{version}-venv"
    as_root = "" if os.geteuid() == 0 else "sudo "
    return f"{lacks} Install it, then run make again:\n\n    {as_root}apt-get install {package}\n"


def pip(*arguments: str) -> None:
    """``pip install`` in the environment, unmoved by settings that would install elsewhere."""
    environment = {
        name: value for name, value in os.environ.items() if name not in {"PIP_TARGET", "PIP_PREFIX", "PIP_USER"}
    }
    common = ["--quiet", "--quiet", "--no-input", "--disable-pip-version-check"]
    command = [str(VENV_PYTHON), "-I", "-m", "pip", "install", *common, *arguments]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False)
    if done.returncode > 0:
        UNFINISHED.unlink()  # pip ended by itself and left nothing half done: the environment can be used again
    if done.returncode != 0:
        raise BootstrapError(
            "pip could not install the packages (its message is above). Is the package index reachable from here?"
        )


def output(*command: str | Path) -> str | None:
    """What a command prints; None if it fails or cannot be run."""
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def read_stamp() -> dict[str, str]:
    """What was installed when; empty when unknown."""
    try:
        found = json.loads(STAMP.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_stamp(installed: dict[str, str]) -> None:
    """Record what is installed, whole or not at all."""
    draft = STAMP.with_suffix(".new")
    draft.write_text(json.dumps(installed, indent=1), "utf-8")
    draft.replace(STAMP)


def digest(path: Path) -> str:
    """SHA-256 of a file, hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def say(text: str) -> None:
    """One line for the person who waits."""
    sys.stderr.write(f"bootstrap: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
