"""Becoming a terminal: a key made here, a certificate request with the operator's one-time code, a credentials file."""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from terminal_sdk import wire
from terminal_sdk.client.bill import checked
from terminal_sdk.client.retry import Patience, RetryPolicy, Tries
from terminal_sdk.client.session import plain_post
from terminal_sdk.client.transport import NoAnswer, Transport
from terminal_sdk.clock import SystemClock
from terminal_sdk.crypto import Certificate, CryptoError, SigningRequest, Sm2PrivateKey
from terminal_sdk.errors import AnswerInvalid, CredentialsInvalid, EnrolmentRefused, RequestRefused, ServiceUnreachable
from terminal_sdk.journal import sync_folder

ENROL_PATH = "/v1/terminals/enrol"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What an enrolled terminal keeps: its key, its certificate and the authority's. ``key`` is a secret."""

    terminal_id: str
    institution_id: str
    key: Sm2PrivateKey = field(repr=False)
    certificate: Certificate
    authority: Certificate

    def save(self, path: str | Path) -> None:
        """Write to a file that only its owner can read; on the disk when this returns. Raises ``OSError``."""
        _write(
            Path(path),
            _File(
                terminal_id=self.terminal_id,
                private_key=self.key.to_bytes().hex(),
                institution_id=self.institution_id,
                certificate_pem=self.certificate.pem(),
                authority_pem=self.authority.pem(),
            ),
        )

    @classmethod
    def load(cls, path: str | Path) -> Credentials:
        """Read such a file. Raises ``CredentialsInvalid``, ``OSError``."""
        stored = _read(Path(path))
        if not (stored.institution_id and stored.certificate_pem and stored.authority_pem):
            raise CredentialsInvalid(f"{path}: the enrolment was not finished; enrol again with this file")
        return _credentials(stored)


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    terminal_id: str
    private_key: str
    institution_id: str | None = None
    certificate_pem: str | None = None
    authority_pem: str | None = None

    def __repr__(self) -> str:
        return f"_File(terminal_id={self.terminal_id!r})"


async def enrol(
    transport: Transport, *, terminal_id: str, code: str, store: str | Path, policy: RetryPolicy
) -> Credentials:
    """Enrol, or try again after an answer was lost: ``store`` keeps the key from before the first send.

    A ``store`` that is complete already is returned as it is. Raises ``EnrolmentRefused``, ``ServiceUnreachable``,
    ``AnswerInvalid``, ``CredentialsInvalid``, ``OSError``.
    """
    path = Path(store)
    stored = await asyncio.to_thread(_begin, path, terminal_id)
    if stored.certificate_pem is not None:
        return await asyncio.to_thread(Credentials.load, path)
    request = wire.EnrolRequest(
        terminal_id=terminal_id, enrolment_code=code, csr_pem=SigningRequest.create(_key(stored), terminal_id).pem()
    )
    enrolment = await _post(transport, checked(request), policy)
    credentials = _credentials(
        msgspec.structs.replace(
            stored,
            institution_id=enrolment.institution_id,
            certificate_pem=enrolment.certificate_pem,
            authority_pem=enrolment.ca_pem,
        )
    )
    await asyncio.to_thread(credentials.save, path)
    return credentials


def _begin(path: Path, terminal_id: str) -> _File:
    """The stored beginning of an enrolment, or a new one with a new key, on the disk."""
    if not path.exists():
        begun = _File(terminal_id=terminal_id, private_key=Sm2PrivateKey.generate().to_bytes().hex())
        _write(path, begun)
        return begun
    stored = _read(path)
    if stored.terminal_id != terminal_id:
        raise CredentialsInvalid(f"{path}: belongs to terminal {stored.terminal_id}")
    return stored


async def _post(transport: Transport, request: wire.EnrolRequest, policy: RetryPolicy) -> wire.Enrolment:
    # Sent once only after the service may have heard it: the code is good for one enrolment. A service that cannot be
    # reached at all is tried again.
    tries = Tries(policy, Patience(SystemClock(), policy.patience_s), random.random)
    while True:
        try:
            return await plain_post(transport, ENROL_PATH, request, wire.Enrolment, tries.timeout_s())
        except RequestRefused as refusal:
            raise EnrolmentRefused(refusal.status, refusal.detail) from refusal
        except NoAnswer as failure:
            if failure.perhaps_processed or not await tries.again(failure):
                raise ServiceUnreachable(failure.reason) from failure


def _credentials(stored: _File) -> Credentials:
    try:
        credentials = Credentials(
            terminal_id=stored.terminal_id,
            institution_id=stored.institution_id or "",
            key=_key(stored),
            certificate=Certificate.from_pem(stored.certificate_pem or ""),
            authority=_first_certificate(stored.authority_pem or ""),
        )
    except CryptoError as error:
        raise AnswerInvalid("the certificate of the enrolment cannot be read") from error
    certificate = credentials.certificate
    if certificate.public_key != credentials.key.public_key or certificate.subject != stored.terminal_id:
        raise AnswerInvalid("the certificate is not for this terminal's key")
    return credentials


def _first_certificate(pem: str) -> Certificate:
    end = "-----END CERTIFICATE-----"
    return Certificate.from_pem(pem.partition(end)[0] + end + "\n")


def _key(stored: _File) -> Sm2PrivateKey:
    try:
        return Sm2PrivateKey.from_bytes(bytes.fromhex(stored.private_key))
    except (CryptoError, ValueError) as error:
        raise CredentialsInvalid("the private key cannot be read") from error


def _read(path: Path) -> _File:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File)
    except msgspec.DecodeError as error:
        raise CredentialsInvalid(f"{path}: not a credentials file") from error


def _write(path: Path, stored: _File) -> None:
    """Replace the file as a whole, readable by its owner alone, and durable with its name."""
    draft = path.with_name(path.name + ".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(stored)))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)
