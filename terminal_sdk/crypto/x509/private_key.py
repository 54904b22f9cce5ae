"""A private key at rest: PKCS#8 with the ECPrivateKey of the SM2 curve inside, as OpenSSL writes and reads it."""

from __future__ import annotations

from typing import Any

from asn1crypto import keys

from terminal_sdk.crypto.errors import CryptoError, KeyInvalid
from terminal_sdk.crypto.sm2 import Sm2PrivateKey
from terminal_sdk.crypto.x509 import asn1

PEM_LABEL = "PRIVATE KEY"


def to_pem(key: Sm2PrivateKey) -> str:
    """PEM text, not encrypted."""
    inner = keys.ECPrivateKey(
        {
            "version": "ecPrivkeyVer1",
            "private_key": int.from_bytes(key.to_bytes(), "big"),
            "public_key": keys.ECPointBitString(key.public_key.to_bytes()),
        }
    )
    info = keys.PrivateKeyInfo(
        {
            "version": 0,
            "private_key_algorithm": {
                "algorithm": "ec",
                "parameters": keys.ECDomainParameters("named", asn1.SM2_CURVE),
            },
            "private_key": inner,
        }
    )
    return asn1.armor(PEM_LABEL, info.dump())


def from_pem(text: str | bytes) -> Sm2PrivateKey:
    """Undo ``to_pem``. ``KeyInvalid`` for anything but one SM2 key; the message shows nothing of it."""
    try:
        with asn1.parsing("private key"):
            info: Any = asn1.load(keys.PrivateKeyInfo, asn1.single(PEM_LABEL, text))
            parameters = info["private_key_algorithm"]["parameters"]
            if parameters.name != "named" or parameters.chosen.dotted != asn1.SM2_CURVE:
                raise ValueError("not an SM2 key")
            inner = info["private_key"].parsed
            key = Sm2PrivateKey.from_bytes(inner["private_key"].native.to_bytes(32, "big"))
            stated = inner["public_key"].native
            if stated is not None and stated != key.public_key.to_bytes():
                raise ValueError("the public key is another's")
    except CryptoError:
        raise KeyInvalid("not an SM2 private key in PKCS#8") from None
    return key
