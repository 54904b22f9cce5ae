"""Social security cards: the virtual card, and the session by which a terminal reads any card over APDUs."""

from terminal_sdk.card.atr import KNOWN_CARDS, AtrDirectory, KnownCard
from terminal_sdk.card.bank import BankApplication
from terminal_sdk.card.chip import VirtualCard
from terminal_sdk.card.errors import (
    CardError,
    CardImageInvalid,
    CardStateInvalid,
    CertificateUnreadable,
    MalformedCardData,
    NoBankApplication,
    NotASocialSecurityCard,
    PinBlocked,
    PinInvalid,
    PinWrong,
    ProofRefused,
    UnexpectedStatus,
    UnknownAtr,
)
from terminal_sdk.card.image import CardImage
from terminal_sdk.card.layout import PublicFile, parse_static_data
from terminal_sdk.card.legacy import legacy_check_value
from terminal_sdk.card.session import CardRead, CardSession, read_card
from terminal_sdk.card.state import CardState, JsonFileState, MemoryState, StateStore

__all__ = [
    "KNOWN_CARDS",
    "AtrDirectory",
    "BankApplication",
    "CardError",
    "CardImage",
    "CardImageInvalid",
    "CardRead",
    "CardSession",
    "CardState",
    "CardStateInvalid",
    "CertificateUnreadable",
    "JsonFileState",
    "KnownCard",
    "MalformedCardData",
    "MemoryState",
    "NoBankApplication",
    "NotASocialSecurityCard",
    "PinBlocked",
    "PinInvalid",
    "PinWrong",
    "ProofRefused",
    "PublicFile",
    "StateStore",
    "UnexpectedStatus",
    "UnknownAtr",
    "VirtualCard",
    "legacy_check_value",
    "parse_static_data",
    "read_card",
]
