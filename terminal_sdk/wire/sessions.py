"""Enrolment and sign-in of terminals."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from msgspec import Meta, Struct

from terminal_sdk.wire.base import Digest, TerminalId


class EnrolRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new terminal's certificate request (PEM), with the one-time code its operator was given."""

    terminal_id: TerminalId
    enrolment_code: Annotated[str, Meta(min_length=8, max_length=64)]
    csr_pem: Annotated[str, Meta(max_length=8192)]


class Enrolment(Struct, frozen=True, kw_only=True):
    """The terminal's certificate and the chain that issued it, PEM."""

    terminal_id: str
    institution_id: str
    certificate_pem: str
    ca_pem: str


class ChallengeRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask for a sign-in challenge."""

    terminal_id: TerminalId


class Challenge(Struct, frozen=True, kw_only=True):
    """A challenge to sign with the terminal's key; short-lived."""

    challenge: str
    expires_at: dt.datetime


class SignInRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """签到: the challenge, signed by the terminal's SM2 key (see ``signing.sign_in_message``)."""

    terminal_id: TerminalId
    challenge: Annotated[str, Meta(max_length=512)]
    certificate_fingerprint: Digest
    signature: Annotated[str, Meta(pattern=r"^[0-9a-f]{128}$(?!\n)")]


class Session(Struct, frozen=True, kw_only=True):
    """A day's session. ``sealed_keys``: SM2 ciphertext (hex) of MAC key (32 bytes) ‖ PIN key (16 bytes)."""

    session_id: str
    terminal_id: str
    institution_id: str
    sealed_keys: str
    expires_at: dt.datetime
    server_time_ms: int
