"""Keys of a link: what is derived from the zone master key, and how working keys travel sealed under it."""

from __future__ import annotations

from dataclasses import dataclass, field

from terminal_sdk.crypto import CryptoError, diversify, sm4_gcm_decrypt, sm4_gcm_encrypt

KEY_BYTES = 16
NONCE_BYTES = 12


class KeySealError(Exception):
    """Sealed working keys cannot be opened: another zone master key, another bank or exchange, or altered."""


@dataclass(frozen=True, slots=True)
class WorkingKeys:
    """The keys of one generation (field 53): ``mac`` for field 64/128, ``pin`` for field 52; 16 bytes each."""

    generation: int
    mac: bytes = field(repr=False)
    pin: bytes = field(repr=False)

    @property
    def label(self) -> str:
        """The generation as field 53 carries it."""
        return f"{self.generation:016d}"


def network_mac_key(zone_key: bytes, bank: str) -> bytes:
    """The MAC key of network messages (0800/0810); both sides have it before any working key exists."""
    return diversify(zone_key, bank.encode("ascii"), "bank-network-mac")


def _seal_key(zone_key: bytes, bank: str) -> bytes:
    return diversify(zone_key, bank.encode("ascii"), "bank-key-seal")


def _context(bank: str, label: str, exchange: str) -> bytes:
    return f"{bank}\n{label}\n{exchange}".encode("ascii")


def seal(keys: WorkingKeys, *, zone_key: bytes, bank: str, exchange: str, nonce: bytes) -> str:
    """Field 48 of a key change: hex of nonce ‖ SM4-GCM(MAC key ‖ PIN key) ‖ tag.

    ``exchange`` is fields 7, 11 and 37 of the request, joined: keys cannot be replayed into another exchange.
    """
    data = sm4_gcm_encrypt(_seal_key(zone_key, bank), nonce, keys.mac + keys.pin, _context(bank, keys.label, exchange))
    return (nonce + data).hex().upper()


def unseal(sealed: str, *, label: str, zone_key: bytes, bank: str, exchange: str) -> WorkingKeys:
    """Open field 48 of a key change; ``label`` is its field 53. Raises ``KeySealError``."""
    raw = bytes.fromhex(sealed)
    try:
        opened = sm4_gcm_decrypt(
            _seal_key(zone_key, bank), raw[:NONCE_BYTES], raw[NONCE_BYTES:], _context(bank, label, exchange)
        )
    except (CryptoError, ValueError):
        raise KeySealError("the working keys cannot be opened") from None
    if len(opened) != 2 * KEY_BYTES:
        raise KeySealError("the sealed keys have the wrong size")
    return WorkingKeys(int(label), opened[:KEY_BYTES], opened[KEY_BYTES:])
