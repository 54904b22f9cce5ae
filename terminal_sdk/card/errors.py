"""What can go wrong with a card, one type per cause; no message ever holds a name, a number or a PIN."""

from __future__ import annotations


class CardError(Exception):
    """A card could not be used. Every failure that is the card's own is a subclass."""


class CardImageInvalid(CardError, ValueError):
    """A virtual card cannot be personalised with these data. ``field`` names the one that is wrong."""

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(f"card image: {field} {problem}")


class CardStateInvalid(CardError):
    """The durable state of a virtual card (counter, PIN tries) cannot be read or written."""


class UnknownAtr(CardError):
    """The answer to reset belongs to no card in the directory. ``atr`` is what the card sent."""

    def __init__(self, atr: bytes) -> None:
        self.atr = atr
        super().__init__(f"no known card answers to reset with {atr.hex(' ').upper() or 'nothing'}")


class NotASocialSecurityCard(CardError):
    """The card has no social security application (another card lies in the reader)."""


class NoBankApplication(CardError):
    """The card has no bank application that can be read; the insurance part is not affected."""


class PinInvalid(CardError, ValueError):
    """The PIN has the wrong form (six digits are needed); it was not sent to the card and cost no try."""


class PinWrong(CardError):
    """The card refused the PIN. ``tries_left``: how many tries remain (0: it is blocked from now on)."""

    def __init__(self, tries_left: int) -> None:
        self.tries_left = tries_left
        super().__init__(f"wrong PIN, {tries_left} {'try' if tries_left == 1 else 'tries'} left")


class PinBlocked(CardError):
    """The PIN was entered wrongly too often; the card must be unlocked by its issuer."""


class ProofRefused(CardError):
    """The card would not sign: its counter is used up or its memory failed. ``status``: its status word."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"the card refused to sign (status {status:04X})")


class MalformedCardData(CardError):
    """What the card sent breaks its format. ``where``: file and record; ``problem``: what is wrong, never the data."""

    def __init__(self, where: str, problem: str) -> None:
        self.where = where
        self.problem = problem
        super().__init__(f"{where}: {problem}")


class CertificateUnreadable(MalformedCardData):
    """The card's certificate file holds no certificate that can be parsed."""


class UnexpectedStatus(CardError):
    """The card answered a command with a status word that has no place there."""

    def __init__(self, doing: str, status: int) -> None:
        self.doing = doing
        self.status = status
        super().__init__(f"{doing}: the card answered {status:04X}")
