"""What a virtual card must not forget: its signature counter and the PIN tries left; in memory or in a JSON file."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta, Struct

from terminal_sdk.card.errors import CardStateInvalid

if sys.platform == "win32":

    def _lock(descriptor: int) -> None:
        """Nothing: on Windows only one process may use a card file."""
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)


PIN_TRIES = 3
COUNTER_MAX = 0xFFFFFFFF


class CardState(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``counter``: the last one given out with a signature (0: none yet). ``pin_tries``: tries left, 0 is blocked."""

    counter: Annotated[int, Meta(ge=0, le=COUNTER_MAX)] = 0
    pin_tries: Annotated[int, Meta(ge=0, le=PIN_TRIES)] = PIN_TRIES


class StateStore(Protocol):
    """Where a card keeps its state."""

    def load(self) -> CardState:
        """The present state. Raises ``CardStateInvalid``."""
        ...

    def update(self, change: Callable[[CardState], CardState]) -> CardState:
        """Replace the state by ``change(state)`` as one step, durable on return; the new state.

        Raises ``CardStateInvalid``, and whatever ``change`` raises; either way nothing is changed.
        """
        ...


class MemoryState:
    """State that lives as long as the process; for tests and load."""

    def __init__(self, state: CardState | None = None) -> None:
        self._state = state or CardState()

    def load(self) -> CardState:
        """The present state."""
        return self._state

    def update(self, change: Callable[[CardState], CardState]) -> CardState:
        """Replace the state."""
        self._state = change(self._state)
        return self._state


class JsonFileState:
    """State in a small JSON file beside the card's image, written by rename so that a crash leaves old or new.

    A file that does not exist is a fresh card. Processes that share the file take turns (a lock file beside it).
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> CardState:
        """Read the file. Raises ``CardStateInvalid`` if it cannot be read."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=CardState)
        except FileNotFoundError:
            return CardState()
        except (OSError, msgspec.DecodeError) as error:
            raise CardStateInvalid(f"the card's state file cannot be read: {type(error).__name__}") from error

    def update(self, change: Callable[[CardState], CardState]) -> CardState:
        """Read, change and write under the lock; on disk on return. Raises ``CardStateInvalid``."""
        with self._locked():
            state = change(self.load())
            try:
                self._write(msgspec.json.encode(state))
            except OSError as error:
                raise CardStateInvalid(f"the card's state file cannot be written: {type(error).__name__}") from error
            return state

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            descriptor = os.open(self._path.with_name(self._path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise CardStateInvalid(f"the card's state cannot be locked: {type(error).__name__}") from error
        try:
            _lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _write(self, content: bytes) -> None:
        directory = self._path.parent
        descriptor, temporary = tempfile.mkstemp(prefix=self._path.name, dir=directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self._path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync_directory(directory)


def _sync_directory(directory: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
