"""An installation whose authorities, terminals and cards are made by the ``openssl`` command settles bills."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from settlement.cards.errors import CardNotRegistrable
from settlement.cards.issuing import made_up_card_number, made_up_pan
from terminal_sdk import Settled, wire
from terminal_sdk.card import CardImage, VirtualCard
from terminal_sdk.crypto import Certificate, private_key_from_pem, verify_chain
from tests.interop.openssl import IDENTITY, LEAF, OpensslAuthority, OpensslKey, make_key, make_request, said
from tests.interop.tills import enrol, enrolled, pay, register_card, till
from tests.support.database import TestDatabases
from tests.support.service import RunningService, present, running_service

pytestmark = pytest.mark.usefixtures("openssl_command")


@pytest.fixture(scope="module")
def authorities(openssl_command: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, OpensslAuthority]:
    """Who signs cards and who signs terminals; another authority of the card authority's name."""
    folder = tmp_path_factory.mktemp("authorities")
    names = {"card": "Their Card CA", "terminal": "Their Terminal CA", "impostor": "Their Card CA"}
    return {role: OpensslAuthority(folder / role, name) for role, name in names.items()}


@pytest.fixture(scope="module")
async def their_service(
    database: TestDatabases, authorities: dict[str, OpensslAuthority], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningService]:
    """A service that found these authorities in its folder and made none."""
    folder = tmp_path_factory.mktemp("service")
    pki = folder / "data" / "pki"
    pki.mkdir(parents=True)
    for role in ("card", "terminal"):
        path, authority = pki / f"{role}-ca.pem", authorities[role]
        path.write_bytes(authority.key_file.read_bytes() + authority.certificate_file.read_bytes())
        path.chmod(0o600)
    async with running_service(await database.create(), folder) as service:
        assert service.base.authorities.card.certificate == authorities["card"].certificate
        yield service


def card_image(issuer: OpensslAuthority, folder: Path) -> CardImage:
    """A card whose key and certificate are made by the command; the card itself is the virtual one."""
    folder.mkdir()
    number, today = made_up_card_number(), dt.datetime.now(dt.UTC).date()
    key_file = make_key(folder / "card.key")
    certificate = issuer.certify(make_request(key_file, number), LEAF, "-days", "3649")
    return CardImage.personalise(
        lambda *_: Certificate.from_pem(certificate.read_text("ascii")),
        card_number=number,
        bank_code="ICBC",
        pan=made_up_pan(),
        key=private_key_from_pem(key_file.read_text("ascii")),
        issued_on=today,
        expires_on=today + dt.timedelta(days=3_600),
        name="张小明",
        social_security_number="310101196401209713",
    )


async def test_a_bill_with_everything_made_by_the_command(
    their_service: RunningService, authorities: dict[str, OpensslAuthority], tmp_path: Path
) -> None:
    """Authorities, the terminal's key and request, the card's key and certificate. The command also signs in (签到)."""
    key_file = make_key(tmp_path / "till.key")
    csr_pem = make_request(key_file, "TESTOS01").read_text("ascii")
    credentials = await enrolled(their_service, "TESTOS01", csr_pem, OpensslKey(key_file))
    certificate_file, authority_file = tmp_path / "till.pem", authorities["terminal"].certificate_file
    certificate_file.write_text(credentials.certificate.pem(), "ascii")
    assert credentials.authority == authorities["terminal"].certificate
    said("verify", "-vfyopt", IDENTITY, "-CAfile", authority_file, certificate_file)

    image = card_image(authorities["card"], tmp_path / "card")
    assert image.pan is not None
    verify_chain(image.certificate(), roots=[authorities["card"].certificate], at=dt.datetime.now(dt.UTC))
    await register_card(their_service, image.card_number, image.certificate(), image.pan)
    async with till(their_service, credentials) as terminal:
        with present(VirtualCard(image)) as card:
            result = await pay(terminal, card, 1_000)
    assert isinstance(result, Settled)
    assert (result.split.current_year_fen, result.split.bank_fen) == (600, 400)


async def test_a_card_of_an_authority_with_the_same_name_is_not_registered(
    their_service: RunningService, authorities: dict[str, OpensslAuthority], tmp_path: Path
) -> None:
    image = card_image(authorities["impostor"], tmp_path / "card")
    assert image.pan is not None
    with pytest.raises(CardNotRegistrable) as caught:
        await register_card(their_service, image.card_number, image.certificate(), image.pan)
    assert caught.value.reason == "untrusted"  # their key identifiers differ, so the name is not enough to try the key


@pytest.mark.parametrize("damage", ["another name", "signed without the identity"])
async def test_a_request_that_must_not_enrol(their_service: RunningService, tmp_path: Path, damage: str) -> None:
    key_file, terminal_id = make_key(tmp_path / "till.key"), f"TESTOS{len(damage):02d}"
    if damage == "another name":
        request = make_request(key_file, "TESTOS99")
    else:
        request = make_request(key_file, terminal_id, identity="distid:")
    refused = await enrol(their_service, terminal_id, request.read_text("ascii"))
    assert isinstance(refused, wire.ErrorDetail)
    assert (refused.code, refused.field) == ("CSR_INVALID", "csr_pem")
