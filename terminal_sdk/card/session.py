"""One presence of a card at a terminal: read it, unlock it, let it prove itself; by APDUs over any reader."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from terminal_sdk import wire
from terminal_sdk.card import layout, social_reader
from terminal_sdk.card.apdu import Command, Ins, Status
from terminal_sdk.card.atr import KNOWN_CARDS, AtrDirectory
from terminal_sdk.card.bank import BankApplication
from terminal_sdk.card.bank_reader import read_bank_application
from terminal_sdk.card.channel import Channel
from terminal_sdk.card.errors import (
    CardError,
    MalformedCardData,
    NoBankApplication,
    PinBlocked,
    PinInvalid,
    PinWrong,
    ProofRefused,
    UnexpectedStatus,
)
from terminal_sdk.card.image import Kind
from terminal_sdk.crypto import Certificate
from terminal_sdk.pin import encode_pin_block
from terminal_sdk.reader import CardConnection, CardReader, ConnectionClosed
from terminal_sdk.signing import settlement_challenge

_PIN = re.compile(r"[0-9]{6}")
_TRIES_MASK = 0x0F
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardRead:
    """What one reading of a card gave. Personal data and numbers stay out of ``repr``.

    ``name`` and ``social_security_number`` are None while the card keeps them locked. ``certificate`` belongs to the
    third generation; ``static_data`` and ``check_value`` to legacy cards. ``bank`` is None if there is no bank
    application or it could not be read (``bank_problem`` says why): that never stops the insurance part.
    """

    kind: Kind
    card_number: str = field(repr=False)
    region: str
    version: str
    issuer: str
    issued_on: dt.date
    expires_on: dt.date
    atr: bytes
    name: str | None = field(default=None, repr=False)
    social_security_number: str | None = field(default=None, repr=False)
    certificate: Certificate | None = field(default=None, repr=False)
    bank: BankApplication | None = None
    bank_problem: CardError | None = None
    static_data: bytes | None = field(default=None, repr=False)
    check_value: bytes | None = field(default=None, repr=False)

    def reference(self) -> wire.CardRef:
        """How requests to the service name this card."""
        fingerprint = self.certificate.fingerprint if self.certificate else None
        return wire.CardRef(card_number=self.card_number, certificate_fingerprint=fingerprint)


class CardSession:
    """A context manager around one presence of a card. Entering connects, checks the ATR and selects the application.

    Entering raises ``NoCard``, ``ReaderBusy``, ``UnknownAtr``, ``NotASocialSecurityCard``, ``MalformedCardData``,
    ``UnexpectedStatus``; every method may raise ``CardRemoved`` too. ``known_cards``: which ATRs are accepted.
    """

    def __init__(self, reader: CardReader, *, known_cards: AtrDirectory = KNOWN_CARDS) -> None:
        self._reader = reader
        self._known_cards = known_cards
        self._connection: CardConnection | None = None
        self._open_channel: Channel | None = None
        self._forget_card()

    def _forget_card(self) -> None:
        self._public: layout.PublicFile | None = None
        self._static_data = b""
        self._at_social = False
        self._bank_read = False
        self._bank: BankApplication | None = None
        self._bank_problem: CardError | None = None

    def __enter__(self) -> Self:
        """Connect and find out what card it is."""
        connection = self._reader.connect()
        self._forget_card()  # entered a second time, it may be another card
        try:
            self._known_cards.identify(connection.atr)
            self._open_channel = Channel(connection)
            self._select_social()
            self._public, self._static_data = social_reader.read_public(self._channel)
            _kind_of(self._public.version)
        except BaseException:
            self._open_channel = None
            connection.disconnect()
            raise
        self._connection = connection
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Power the card down."""
        connection, self._connection, self._open_channel = self._connection, None, None
        if connection is not None:
            connection.disconnect()

    @property
    def kind(self) -> Kind:
        """Which kind of card this is."""
        return _kind_of(self._known.version)

    @property
    def card_number(self) -> str:
        """The social security card number (EF05, tag 07)."""
        return self._known.card_number

    def read(self) -> CardRead:
        """Everything that can be read now; after ``verify_pin`` with the holder's name and number.

        Raises ``MalformedCardData`` (``CertificateUnreadable``), ``UnexpectedStatus``, ``ReaderError``.
        """
        self._read_bank()
        self._select_social()
        name, number = social_reader.read_holder(self._channel)
        public, third = self._known, self.kind == "third_generation"
        return CardRead(
            kind=self.kind,
            card_number=public.card_number,
            region=public.region,
            version=public.version,
            issuer=public.issuer,
            issued_on=public.issued_on,
            expires_on=public.expires_on,
            atr=self._require_connection().atr,
            name=name,
            social_security_number=number,
            certificate=social_reader.read_certificate(self._channel) if third else None,
            bank=self._bank,
            bank_problem=self._bank_problem,
            static_data=None if third else self._static_data,
            check_value=None if third else social_reader.read_check_value(self._channel),
        )

    def verify_pin(self, pin: str) -> None:
        """Unlock the holder's data with the card's PIN (six digits).

        Raises ``PinInvalid`` (nothing was sent), ``PinWrong`` with the tries left, ``PinBlocked``.
        """
        if not _PIN.fullmatch(pin):
            raise PinInvalid("a card PIN has six digits")
        # Selecting the bank application later would lock the data again, so it is read first.
        self._read_bank()
        self._select_social()
        response = self._channel.send(Command(0x00, Ins.VERIFY, 0x00, 0x00, bytes.fromhex(pin)))
        if response.ok:
            return
        if response.status == Status.PIN_BLOCKED:
            raise PinBlocked("the PIN is blocked; the issuer must unlock the card")
        if response.status & ~_TRIES_MASK == Status.TRIES_LEFT:
            raise PinWrong(response.status & _TRIES_MASK)
        raise UnexpectedStatus("VERIFY", response.status)

    def prove(
        self, *, terminal_id: str, visit_no: str, total_fen: int, agreed: str, now: dt.datetime
    ) -> wire.CardProof | wire.LegacyProof:
        """Prove that the card is here and agrees to this bill (``agreed``: ``quote:<digest>`` or ``ceiling:<fen>``).

        A third-generation card signs, and its counter rises; a legacy card hands out its static data. ``now``: aware.
        Raises ``ProofRefused``, ``MalformedCardData``, ``UnexpectedStatus``, ``ValueError`` for a naive time.
        """
        signed_at_ms = _epoch_ms(now)
        self._select_social()
        if self.kind == "legacy":
            check_value = social_reader.read_check_value(self._channel)
            return wire.LegacyProof(static_data=self._static_data.hex(), check_value=check_value.hex())
        challenge = settlement_challenge(
            terminal_id=terminal_id,
            visit_no=visit_no,
            total_fen=total_fen,
            agreed=agreed,
            signed_at_ms=signed_at_ms,
        )
        counter, signature = self._authenticate(challenge)
        return wire.CardProof(counter=counter, signed_at_ms=signed_at_ms, signature=signature.hex())

    def pin_block(self, pin: str, pin_key: bytes) -> bytes:
        """The bank PIN as a block for field 52 (see ``terminal_sdk.pin``), bound to this card's account number.

        Raises ``NoBankApplication``, ``PinBlockInvalid`` for a PIN of another form.
        """
        self._read_bank()
        if self._bank is None:
            raise NoBankApplication("the card has no readable bank application") from self._bank_problem
        return encode_pin_block(pin, self._bank.pan, pin_key)

    def _authenticate(self, challenge: bytes) -> tuple[int, bytes]:
        response = self._channel.send(Command(0x00, Ins.INTERNAL_AUTHENTICATE, 0x00, 0x00, challenge, le=0x100))
        if response.status in (Status.CONDITIONS_NOT_SATISFIED, Status.MEMORY_FAILURE):
            raise ProofRefused(response.status)
        if not response.ok:
            raise UnexpectedStatus("INTERNAL AUTHENTICATE", response.status)
        if len(response.data) != layout.PROOF_BYTES:
            raise MalformedCardData(
                "INTERNAL AUTHENTICATE", f"{len(response.data)} bytes instead of {layout.PROOF_BYTES}"
            )
        counter = int.from_bytes(response.data[:4], "big")
        if counter == 0:
            raise MalformedCardData("INTERNAL AUTHENTICATE", "the counter is zero")
        return counter, response.data[4:]

    def _read_bank(self) -> None:
        """Read the bank application once; a fault in it is kept, not raised, unless the reader failed."""
        if self._bank_read or self.kind == "legacy":
            return
        self._at_social = False
        try:
            self._bank = read_bank_application(self._channel)
        except CardError as problem:
            self._bank_problem = problem
        self._bank_read = True

    def _select_social(self) -> None:
        if not self._at_social:
            social_reader.select_application(self._channel)
            self._at_social = True

    @property
    def _known(self) -> layout.PublicFile:
        """EF05, read when the session was opened."""
        if self._public is None:
            raise ConnectionClosed("the session was never open")
        return self._public

    @property
    def _channel(self) -> Channel:
        if self._open_channel is None:
            raise ConnectionClosed("the session is not open")
        return self._open_channel

    def _require_connection(self) -> CardConnection:
        if self._connection is None:
            raise ConnectionClosed("the session is not open")
        return self._connection


def read_card(reader: CardReader, *, known_cards: AtrDirectory = KNOWN_CARDS) -> CardRead:
    """Connect, read, disconnect: everything that needs no PIN. Raises what ``CardSession`` raises."""
    with CardSession(reader, known_cards=known_cards) as session:
        return session.read()


def _kind_of(version: str) -> Kind:
    if version.startswith("3."):
        return "third_generation"
    if version.startswith(("1.", "2.")):
        return "legacy"
    raise MalformedCardData("EF05 tag 03", "is no card version this terminal knows")


def _epoch_ms(moment: dt.datetime) -> int:
    if moment.tzinfo is None:
        raise ValueError("the time must be aware")
    return (moment - _EPOCH) // dt.timedelta(milliseconds=1)
