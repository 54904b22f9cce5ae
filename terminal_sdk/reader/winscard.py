"""The calls of PC/SC that a reader needs, typed over ``pyscard``: every return code other than success is an error.

The rest of the package imports this late: without ``pyscard`` everything but real readers works.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from terminal_sdk.reader.errors import (
    AccessDenied,
    DaemonUnavailable,
    ExchangeFailed,
    NoCard,
    PcscNotInstalled,
    ReaderBusy,
    ReaderError,
    ReaderUnplugged,
)

_NO_DAEMON = "the PC/SC daemon does not answer: start it (systemctl start pcscd.socket)"
_GONE = "the reader was unplugged"
_MUTE = "the card does not answer to reset: is it the right way round?"
_NO_ANSWER = "the card did not answer the last command"
_STATUS_BYTES = 2
_ERRORS: Mapping[str, tuple[type[ReaderError], str]] = {
    "SCARD_E_NO_SERVICE": (DaemonUnavailable, _NO_DAEMON),
    "SCARD_E_SERVICE_STOPPED": (DaemonUnavailable, _NO_DAEMON),
    "SCARD_E_SYSTEM_CANCELLED": (DaemonUnavailable, _NO_DAEMON),
    "SCARD_F_COMM_ERROR": (DaemonUnavailable, _NO_DAEMON),
    "SCARD_E_INVALID_HANDLE": (DaemonUnavailable, "the PC/SC daemon was started anew and knows this caller no more"),
    "SCARD_E_NO_ACCESS": (AccessDenied, "the PC/SC daemon does not serve this user (polkit: org.debian.pcsc-lite)"),
    "SCARD_W_SECURITY_VIOLATION": (
        AccessDenied,
        "the PC/SC daemon does not serve this user (polkit: org.debian.pcsc-lite)",
    ),
    "SCARD_E_UNKNOWN_READER": (ReaderUnplugged, _GONE),
    "SCARD_E_READER_UNAVAILABLE": (ReaderUnplugged, _GONE),
    "SCARD_E_NO_READERS_AVAILABLE": (ReaderUnplugged, _GONE),
    "SCARD_E_NO_SMARTCARD": (NoCard, "no card lies in the reader"),
    "SCARD_W_REMOVED_CARD": (NoCard, "no card lies in the reader"),
    "SCARD_W_UNRESPONSIVE_CARD": (NoCard, _MUTE),
    "SCARD_W_UNPOWERED_CARD": (NoCard, _MUTE),
    "SCARD_W_UNSUPPORTED_CARD": (NoCard, _MUTE),
    "SCARD_E_PROTO_MISMATCH": (NoCard, _MUTE),  # its answer to reset offers none that the reader knows
    "SCARD_W_RESET_CARD": (ExchangeFailed, "another program reset the card"),
    "SCARD_E_NOT_TRANSACTED": (ExchangeFailed, _NO_ANSWER),
    "SCARD_E_COMM_DATA_LOST": (ExchangeFailed, _NO_ANSWER),
    "SCARD_E_SHARING_VIOLATION": (ReaderBusy, "another program uses the card"),
}
"""What a return code means; the names are those of ``winscard.h``."""


class ProtocolMismatch(ReaderError):
    """The card does not speak the transmission protocol that was asked for."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A reader and what lies in it. ``event``: the daemon's state word, to be handed back when waiting for a change."""

    name: str
    present: bool
    event: int


class Context:
    """A conversation with the PC/SC daemon, to be closed. Good for one caller at a time.

    Raises ``PcscNotInstalled``, ``DaemonUnavailable``, ``AccessDenied``; every method any ``ReaderError``.
    """

    def __init__(self) -> None:
        self._api = _api()
        code, self._handle = self._api.SCardEstablishContext(self._api.SCARD_SCOPE_USER)
        _check(code)

    def close(self) -> None:
        """End it; cards that are still connected are let go. Harmless if the daemon is gone."""
        self._api.SCardReleaseContext(self._handle)

    def readers(self) -> list[str]:
        """The names of the readers that are connected, in the daemon's order."""
        code, names = self._api.SCardListReaders(self._handle, [])
        if code == self._api.SCARD_E_NO_READERS_AVAILABLE:
            return []
        _check(code)
        return [str(name) for name in names]

    def slots(self, names: Sequence[str]) -> list[Slot]:
        """The present state of these readers; one that is gone meanwhile is left out."""
        return [slot for name in names if (slot := self._slot(name, 0, 0)) is not None]

    def changed(self, slot: Slot, timeout_ms: int) -> Slot | None:
        """Wait until the state of a reader is another than ``slot`` says, at most so long; None: the reader is gone."""
        return self._slot(slot.name, slot.event, timeout_ms)

    def _slot(self, name: str, known: int, timeout_ms: int) -> Slot | None:
        api = self._api
        code, states = api.SCardGetStatusChange(self._handle, timeout_ms, [(name, known)])
        if code == api.SCARD_E_TIMEOUT:
            return Slot(name, bool(known & api.SCARD_STATE_PRESENT), known)
        if code in (api.SCARD_E_UNKNOWN_READER, api.SCARD_E_READER_UNAVAILABLE):
            return None
        _check(code)
        _, event, _ = states[0]
        if event & (api.SCARD_STATE_UNKNOWN | api.SCARD_STATE_UNAVAILABLE):
            return None
        return Slot(name, bool(event & api.SCARD_STATE_PRESENT), event & ~api.SCARD_STATE_CHANGED)

    def connect(self, reader: str) -> Card:
        """Power the card up and take it for this caller alone, with whichever protocol the daemon chooses."""
        api = self._api
        any_protocol = api.SCARD_PROTOCOL_T0 | api.SCARD_PROTOCOL_T1
        code, handle, protocol = api.SCardConnect(self._handle, reader, api.SCARD_SHARE_EXCLUSIVE, any_protocol)
        _check(code)
        return Card(api, handle, protocol)


class Card:
    """A card that is taken. ``protocol_t``: the transmission protocol in use, 0 or 1."""

    def __init__(self, api: Any, handle: int, protocol: int) -> None:
        self._api = api
        self._handle = handle
        self._protocol = protocol

    @property
    def protocol_t(self) -> int:
        """0 for T=0, 1 for T=1."""
        return 1 if self._protocol == self._api.SCARD_PROTOCOL_T1 else 0

    def atr(self) -> bytes:
        """The answer to reset."""
        code, _, _, _, atr = self._api.SCardStatus(self._handle)
        _check(code)
        return bytes(atr)

    def reset(self, protocol_t: int) -> None:
        """Reset the card and go on with T=0 or T=1. Raises ``ProtocolMismatch`` if the card does not offer it."""
        api = self._api
        wanted = api.SCARD_PROTOCOL_T1 if protocol_t else api.SCARD_PROTOCOL_T0
        code, protocol = api.SCardReconnect(self._handle, api.SCARD_SHARE_EXCLUSIVE, wanted, api.SCARD_RESET_CARD)
        if code == api.SCARD_E_PROTO_MISMATCH:
            raise ProtocolMismatch(f"the card does not speak T={protocol_t}")
        _check(code)
        self._protocol = protocol

    def transmit(self, command: bytes) -> bytes:
        """Exchange one command; at least a status word comes back. After an error what it did is not known."""
        api = self._api
        pci = api.SCARD_PCI_T1 if self.protocol_t else api.SCARD_PCI_T0
        # After an error the library's buffer comes back as it was, with whatever memory held before.
        code, response = api.SCardTransmit(self._handle, pci, list(command))
        _check(code)
        if len(response) < _STATUS_BYTES:  # drivers report a card that is torn out as success without an answer
            raise ExchangeFailed(_NO_ANSWER)
        return bytes(response)

    def disconnect(self) -> None:
        """Power the card down. Harmless if card, reader or daemon are gone."""
        self._api.SCardDisconnect(self._handle, self._api.SCARD_UNPOWER_CARD)


@functools.cache
def _api() -> Any:
    """``smartcard.scard``, which has no types. Raises ``PcscNotInstalled`` (not cached: it may be installed later)."""
    try:
        return importlib.import_module("smartcard.scard")
    except ModuleNotFoundError as error:
        raise PcscNotInstalled(
            "PC/SC readers need the package pyscard: install settlement-terminal-sdk[pcsc] "
            "(on Linux it is built: apt-get install gcc swig python3-dev libpcsclite-dev)"
        ) from error
    except ImportError as error:
        raise PcscNotInstalled(
            "pyscard cannot load the system's PC/SC library: apt-get install libpcsclite1"
        ) from error


def _check(code: int) -> None:
    """Nothing for success. Raises the error that the code stands for."""
    api = _api()
    if code == api.SCARD_S_SUCCESS:
        return
    for name, (kind, message) in _ERRORS.items():
        if code == getattr(api, name, None):
            raise kind(message)
    raise ReaderError(f"PC/SC error {code & 0xFFFFFFFF:08X}: {api.SCardGetErrorMessage(code)}")
