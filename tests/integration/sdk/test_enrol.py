"""Enrolment: the key is made and kept here, one code is one enrolment, a lost answer is no lost terminal."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from terminal_sdk import AnswerInvalid, Credentials, CredentialsInvalid, EnrolmentRefused, ServiceUnreachable, Terminal
from terminal_sdk.crypto import CertificateAuthority, SigningRequest, Sm2PrivateKey
from tests.support.scripted_service import issue


async def test_enrol(peer: Any, terminal_ca: CertificateAuthority, tmp_path: Path) -> None:
    store = tmp_path / "terminal.json"
    peer.enrol = lambda request: issue(terminal_ca, request)
    own = await Terminal.enrol(peer.base_url, "YD000001", "code-0000-1111", store)
    assert own.certificate.subject == "YD000001"
    assert own.certificate.public_key == own.key.public_key
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    loaded = Credentials.load(store)
    assert loaded.key.to_bytes() == own.key.to_bytes()
    assert own.key.to_bytes().hex() not in repr(own)
    peer.enrol = None  # a second call has nothing to ask
    again = await Terminal.enrol(peer.base_url, "YD000001", "code-0000-1111", store)
    assert again.certificate == loaded.certificate or again.certificate.der == loaded.certificate.der


async def test_after_a_lost_answer_the_same_key_is_certified(
    peer: Any, terminal_ca: CertificateAuthority, tmp_path: Path
) -> None:
    store = tmp_path / "terminal.json"
    heard: list[dict[str, Any]] = []

    def lose(request: dict[str, Any]) -> None:
        heard.append(request)

    peer.enrol = lose
    with pytest.raises(ServiceUnreachable):
        await Terminal.enrol(peer.base_url, "YD000001", "code-0000-1111", store)
    with pytest.raises(CredentialsInvalid, match="not finished"):
        Credentials.load(store)
    peer.enrol = lambda request: issue(terminal_ca, request)
    own = await Terminal.enrol(peer.base_url, "YD000001", "code-0000-1111", store)
    assert len(heard) == 1  # the code is not burnt by a retry of our own
    assert SigningRequest.from_pem(heard[0]["csr_pem"]).public_key == own.key.public_key


async def test_a_wrong_code_and_a_certificate_for_another_key(
    peer: Any, terminal_ca: CertificateAuthority, tmp_path: Path
) -> None:
    body = json.dumps({"error": {"code": "ENROLMENT_REFUSED", "message": "wrong"}}).encode()
    peer.enrol = lambda request: web.Response(status=403, body=body)
    with pytest.raises(EnrolmentRefused, match="ENROLMENT_REFUSED"):
        await Terminal.enrol(peer.base_url, "YD000001", "code-0000-1111", tmp_path / "terminal.json")
    peer.enrol = lambda request: issue(terminal_ca, request, key=Sm2PrivateKey.generate())
    with pytest.raises(AnswerInvalid):
        await Terminal.enrol(peer.base_url, "YD000001", "code-0000-1111", tmp_path / "terminal.json")
    with pytest.raises(CredentialsInvalid, match="belongs to"):
        await Terminal.enrol(peer.base_url, "YD000002", "code-0000-1111", tmp_path / "terminal.json")


async def test_a_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "terminal.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CredentialsInvalid):
        Credentials.load(tmp_path / "terminal.json")
