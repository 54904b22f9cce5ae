"""A PC/SC daemon of the tests' own, with virtual slots: started, stopped, killed and started anew at will.

Where the system allows it, the daemon runs in a mount namespace, with a socket of its own: it does not meet a daemon
that runs already, and needs no root. Elsewhere it takes the system's place, which must be free.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, NoReturn

import pytest

from terminal_sdk.reader import ReaderError
from terminal_sdk.reader.pcsc import list_readers
from terminal_sdk.reader.winscard import Context

DRIVER = Path("/usr/lib/pcsc/drivers/serial/libifdvpcd.so")
SYSTEM_SOCKET = Path("/run/pcscd/pcscd.comm")
RUN = Path(tempfile.gettempdir()) / f"pcscd-{os.getpid()}"
"""Stands in for /run where the daemon has its own view of it."""
SOCKET_VARIABLE = "PCSCLITE_CSOCK_NAME"
TILL_READER = "Till reader"
CABLE_READER = "Cable reader"
PATIENCE_S = 20.0
_LOG_LINES = 30


def not_here(reason: str) -> NoReturn:
    """Skip, or fail where everything should be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def missing_packages() -> list[str]:
    """The Debian packages that are lacking for a daemon with virtual slots."""
    found = {
        "pcscd": shutil.which("pcscd"),
        "vsmartcard-vpcd": DRIVER.exists(),
        "gcc libpcsclite-dev (then make dev)": importlib.util.find_spec("smartcard"),
    }
    return [package for package, there in found.items() if not there]


@functools.cache
def namespace() -> Sequence[str] | None:
    """The command that gives a program a mount namespace of its own; None where the system refuses."""
    ways = [["unshare", "--mount", "--propagation", "private"]]
    ways.append([*ways[0], "--user", "--map-root-user"])
    for way in ways:
        if shutil.which("unshare") and subprocess.run([*way, "true"], capture_output=True, check=False).returncode == 0:
            return way
    return None


def use_own_socket() -> None:
    """Point this process and its children to the tests' daemon. The library looks once, at its first call."""
    if not missing_packages() and namespace() is not None:
        os.environ[SOCKET_VARIABLE] = str(RUN / "pcscd" / "pcscd.comm")


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll; fails the test when it takes too long."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE_S} s"
        time.sleep(0.02)


class Daemon:
    """The daemon. ``port``: of slot 0; slot 1 is the next one; the cable reader has ``port`` + 2."""

    def __init__(self, folder: Path) -> None:
        self.port = _free_ports(3)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._readers: list[str] = []
        self._lock: IO[str] | None = None
        self.cable = folder / "cable"
        self.contacts = folder / "contacts"
        for switch in (self.cable, self.contacts):
            switch.touch()

    def ensure(self, *readers: str) -> None:
        """Have it run with exactly these readers."""
        if self._process is None or self._process.poll() is not None or self._readers != list(readers):
            self.stop()
            self.start(*readers)

    def start(self, *readers: str) -> None:
        """Start it; returns when it answers and has its readers."""
        self._readers = list(readers)
        configuration = self._folder / "reader.conf.d"
        shutil.rmtree(configuration, ignore_errors=True)
        configuration.mkdir()
        if TILL_READER in readers:
            (configuration / "till").write_text(_reader(TILL_READER, self.port, DRIVER))
        if CABLE_READER in readers:
            (configuration / "cable").write_text(_reader(CABLE_READER, self.port + 2, self._cable_driver()))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(configuration),
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "CABLE": str(self.cable), "CONTACTS": str(self.contacts), "DRIVER": str(DRIVER)},
            )
        wanted = 2 * (TILL_READER in readers) + (CABLE_READER in readers)
        wait_until(lambda: self._listed() == wanted, f"start of the daemon (its log: {self.log()})")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, and wait until it has ended. Harmless if it does not run."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=PATIENCE_S)
            self._process = None

    def log(self) -> str:
        """The end of what it wrote."""
        return "\n".join(self._log.read_text("utf-8", errors="replace").splitlines()[-_LOG_LINES:])

    @property
    def _log(self) -> Path:
        return self._folder / "pcscd.log"

    def _command(self, configuration: Path) -> list[str]:
        pcscd = f"exec pcscd --foreground --info --config {configuration}"
        dies_with_us = ["setpriv", "--pdeathsig", "TERM"]
        own = namespace()
        if own is None:
            self._take_the_systems_place()
            return [*dies_with_us, "sh", "-c", pcscd]
        RUN.mkdir(mode=0o700, exist_ok=True)
        return [*dies_with_us, *own, "sh", "-c", f"mount --bind {RUN} /run && mkdir -p /run/pcscd && {pcscd}"]

    def _take_the_systems_place(self) -> None:
        """Wait for other test runs; refuse to meet a daemon that is not ours."""
        if self._lock is None:
            self._lock = (Path(tempfile.gettempdir()) / "settlement-pcscd.lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(SYSTEM_SOCKET))
            pytest.fail("another pcscd runs: stop it (systemctl stop pcscd.socket pcscd), or allow unshare --mount")

    def close(self) -> None:
        """Stop it for good."""
        self.stop()
        if self._lock is not None:
            self._lock.close()
        shutil.rmtree(RUN, ignore_errors=True)

    def _listed(self) -> int:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        try:
            return len(list_readers())
        except ReaderError:
            return -1

    def _cable_driver(self) -> Path:
        library = self._folder / "libcable.so"
        if not library.exists():
            if not shutil.which("gcc") or not Path("/usr/include/PCSC/ifdhandler.h").exists():
                not_here("the reader with a cable needs a compiler: apt-get install gcc libpcsclite-dev")
            source = Path(__file__).with_name("cable.c")
            command = ["gcc", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-I/usr/include/PCSC"]
            subprocess.run([*command, "-o", str(library), str(source), "-ldl"], check=True)
        return library


def seen(reader: str, *, present: bool) -> bool:
    """Whether the daemon has noticed that a card lies in the reader, or that none does."""
    context = Context()
    try:
        names = [name for name in context.readers() if reader in name]
        return [slot.present for slot in context.slots(names)] == [present]
    finally:
        context.close()


def run_opensc(*arguments: str) -> str:
    """What ``opensc-tool``, which knows nothing of us, prints."""
    if not shutil.which("opensc-tool"):
        not_here("a foreign program is needed: apt-get install opensc")
    done = subprocess.run(["opensc-tool", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _reader(name: str, port: int, library: Path) -> str:
    return f'FRIENDLYNAME "{name}"\nDEVICENAME /dev/null:0x{port:04X}\nLIBPATH {library}\nCHANNELID 0x{port:04X}\n'


def _free_ports(count: int) -> int:
    """The first of so many neighbouring TCP ports that nobody has."""
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            first = int(probe.getsockname()[1])
        if first + count < 2**16 and all(_is_free(first + number) for number in range(count)):
            return first
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104  (where the driver listens)
        except OSError:
            return False
    return True
