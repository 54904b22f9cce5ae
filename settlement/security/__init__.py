"""Secrets and personal data: named keys from one master key, encryption at rest, blind search, masking."""

from settlement.security.keyring import KeyRing, KeyRingError
from settlement.security.masks import mask_name, mask_number
from settlement.security.personal import Personal, PersonalDataError

__all__ = ["KeyRing", "KeyRingError", "Personal", "PersonalDataError", "mask_name", "mask_number"]
