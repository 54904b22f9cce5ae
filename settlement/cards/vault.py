"""The personal data of the registry's tables: each value sealed for its own row and column, found by a blind index."""

from __future__ import annotations

from settlement.security import Personal


class SealedColumn:
    """One sealed column. A value opens only in the row it was sealed for (``PersonalDataError`` elsewhere)."""

    def __init__(self, personal: Personal, name: str) -> None:
        self._personal = personal
        self._name = name

    def seal(self, text: str, *row: int) -> bytes:
        """Encrypt a text for the row of this key."""
        return self._personal.encrypt(text, self._context(row))

    def open(self, sealed: bytes, *row: int) -> str:
        """The text that was sealed for the row of this key. Raises ``PersonalDataError``."""
        return self._personal.decrypt(sealed, self._context(row))

    def _context(self, row: tuple[int, ...]) -> str:
        return ":".join([self._name, *map(str, row)])


class Vault:
    """The sealed columns of ``person`` (row: person id) and ``card`` (person id, card id), and the blind indexes."""

    def __init__(self, personal: Personal) -> None:
        self._personal = personal
        self.name = SealedColumn(personal, "person.name")
        self.id_number = SealedColumn(personal, "person.id_number")
        self.card_number = SealedColumn(personal, "card.card_number")
        self.certificate = SealedColumn(personal, "card.certificate")
        self.pan = SealedColumn(personal, "card.pan")

    def index_id_number(self, id_number: str) -> bytes:
        """32 bytes by which a person is found."""
        return self._personal.blind_index("id_number", id_number)

    def index_card_number(self, card_number: str) -> bytes:
        """32 bytes by which a card is found."""
        return self._personal.blind_index("card_number", card_number)
