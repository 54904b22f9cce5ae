"""What the registry refuses to enter: for operators and issuers; tills get the codes of ``settlement.errors``."""

from __future__ import annotations


class RegistryError(Exception):
    """A person, card or credit cannot be entered as given. Nothing was changed; no message holds personal data."""


class NumberInvalid(RegistryError, ValueError):
    """A name or number has the wrong form. ``field`` says which."""

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        super().__init__(f"{field}: {problem}")


class PersonUnknown(RegistryError):
    """There is no person of this id."""

    def __init__(self, person_id: int) -> None:
        super().__init__(f"there is no person {person_id}; add the person first")


class PersonNameDiffers(RegistryError):
    """This ID number is registered under another name: a mistyped number, or a name that has to be changed first."""

    def __init__(self, person_id: int) -> None:
        self.person_id = person_id
        super().__init__(f"the ID number belongs to person {person_id}, who is registered under another name")


class CardAlreadyRegistered(RegistryError):
    """A card of this number is in the registry; it stays as it is."""

    def __init__(self) -> None:
        super().__init__("a card of this number is registered already")


class CardNotRegistrable(RegistryError):
    """The card's dates or certificate forbid to enter it. ``reason`` is a stable word."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class CreditDiffers(RegistryError):
    """This credit id was booked for this person with another account or amount; nothing was booked now."""

    def __init__(self) -> None:
        super().__init__("the credit id was used before for another account or amount; take a new one")
