"""The ASN.1 pieces that certificates, requests, revocation lists and stored keys share."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from asn1crypto import algos, core, keys, pem, x509

from terminal_sdk.crypto import der
from terminal_sdk.crypto.errors import CertificateInvalid, CryptoError, SignatureInvalid
from terminal_sdk.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from terminal_sdk.crypto.sm3 import sm3

SM2_CURVE = "1.2.156.10197.1.301"
"""sm2p256v1 as the named curve of an id-ecPublicKey (GM/T 0006)."""
SM2_WITH_SM3 = "1.2.156.10197.1.501"
"""The signature algorithm (GM/T 0006); its parameters are absent, NULL is accepted."""
CRITICAL_EXTENSIONS_KNOWN = frozenset({"basic_constraints", "key_usage"})

_UTC_TIME_LAST_YEAR = 2049
_UTC_TIME_FIRST_YEAR = 1950
_NAME_MAX = 64
keys.NamedCurve.register("sm2p256v1", SM2_CURVE, 32)  # the parser's own door for a curve it does not ship


@contextmanager
def parsing(what: str) -> Iterator[None]:
    """Turn whatever the parser trips over into ``CertificateInvalid`` (malformed); bytes of strangers come here."""
    try:
        yield
    except CertificateInvalid:
        raise
    except (CryptoError, ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError) as error:
        raise CertificateInvalid("malformed", f"the {what} cannot be read") from error


def load(kind: Any, data: bytes) -> Any:
    """Parse exactly these bytes. To be called inside ``parsing``."""
    return kind.load(bytes(data), strict=True)


def signature_algorithm() -> algos.SignedDigestAlgorithm:
    """SM2 with SM3, without parameters."""
    return algos.SignedDigestAlgorithm({"algorithm": SM2_WITH_SM3})


def check_signature_algorithm(*algorithms: Any) -> None:
    """Malformed unless each is SM2 with SM3 and has no parameters but NULL."""
    for algorithm in algorithms:
        if algorithm["algorithm"].dotted != SM2_WITH_SM3 or algorithm["parameters"].native is not None:
            raise CertificateInvalid("malformed", "only SM2 with SM3 signatures are accepted")


def public_key_info(key: Sm2PublicKey) -> keys.PublicKeyInfo:
    """The SubjectPublicKeyInfo of an SM2 key."""
    return keys.PublicKeyInfo(
        {
            "algorithm": {"algorithm": "ec", "parameters": keys.ECDomainParameters("named", SM2_CURVE)},
            "public_key": keys.ECPointBitString(key.to_bytes()),
        }
    )


def public_key_of(info: Any) -> Sm2PublicKey:
    """The SM2 key of a SubjectPublicKeyInfo; ``ValueError`` or ``KeyInvalid`` for any other."""
    algorithm = info["algorithm"]
    parameters = algorithm["parameters"]
    if algorithm["algorithm"].native != "ec" or parameters.name != "named" or parameters.chosen.dotted != SM2_CURVE:
        raise ValueError("not an SM2 key")
    return Sm2PublicKey.from_bytes(info["public_key"].native)


def key_identifier(key: Sm2PublicKey) -> bytes:
    """The leading 20 bytes of SM3 over the key's bits (RFC 5280, 4.2.1.2, allows any digest)."""
    return sm3(key.to_bytes())[:20]


def name(common_name: str) -> x509.Name:
    """A name of one CN (UTF-8, 1 to 64 characters, else ``ValueError``)."""
    if not 1 <= len(common_name) <= _NAME_MAX or not common_name.isprintable():
        raise ValueError("a common name has 1 to 64 printable characters")
    return x509.Name.build({"common_name": common_name})


def common_name_of(value: Any) -> str:
    """The last CN of a name, or "" where there is none."""
    found = ""
    for relative in value.chosen:
        for attribute in relative:
            if attribute["type"].native == "common_name":
                found = str(attribute["value"].native)
    return found


def time(moment: dt.datetime) -> x509.Time:
    """A moment (aware, else ``ValueError``) in whole seconds: UTCTime to 2049, then GeneralizedTime (RFC 5280)."""
    if moment.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    utc = moment.astimezone(dt.UTC).replace(microsecond=0)
    short = _UTC_TIME_FIRST_YEAR <= utc.year <= _UTC_TIME_LAST_YEAR
    return x509.Time("utc_time", core.UTCTime(utc)) if short else x509.Time("general_time", core.GeneralizedTime(utc))


def moment_of(value: Any) -> dt.datetime:
    """The moment of a Time; ``ValueError`` where it names no zone."""
    moment = value.native
    if not isinstance(moment, dt.datetime) or moment.tzinfo is None:
        raise ValueError("a time without zone")
    return moment.astimezone(dt.UTC)


def sign(key: Sm2PrivateKey, to_be_signed: bytes) -> bytes:
    """The signature value of a certificate: DER, under the default identity (GM/T 0009)."""
    return der.signature_to_der(key.sign(to_be_signed))


def check_signature(key: Sm2PublicKey, to_be_signed: bytes, signature: bytes, what: str) -> None:
    """``CertificateInvalid`` (bad_signature) unless the DER signature is this key's."""
    try:
        key.verify(to_be_signed, der.signature_from_der(signature))
    except (SignatureInvalid, ValueError) as error:
        raise CertificateInvalid("bad_signature", f"the signature of the {what} is wrong") from error


def extensions_of(field: Any) -> list[Any]:
    """The extensions of an optional field."""
    return list(field) if is_present(field) else []


def check_extensions(extensions: list[Any], known_critical: frozenset[str], what: str) -> None:
    """Malformed when one occurs twice, or a critical one is not understood (RFC 5280, 4.2)."""
    seen: set[str] = set()
    for extension in extensions:
        identifier = extension["extn_id"].native
        if identifier in seen:
            raise CertificateInvalid("malformed", f"an extension of the {what} occurs twice")
        if extension["critical"].native and identifier not in known_critical:
            raise CertificateInvalid("malformed", f"a critical extension of the {what} is not understood")
        seen.add(identifier)


def is_present(value: Any) -> bool:
    """Whether an optional field is there."""
    return not isinstance(value, core.Void)


def extension_of(extensions: list[Any], identifier: str) -> Any | None:
    """The parsed value of an extension, or None."""
    for extension in extensions:
        if extension["extn_id"].native == identifier:
            return extension["extn_value"].parsed
    return None


def armor(label: str, data: bytes) -> str:
    """PEM text."""
    return str(pem.armor(label, data).decode("ascii"))


def unarmor(label: str, text: str | bytes) -> list[bytes]:
    """The contents of every PEM block of this label; ``ValueError`` where there is none."""
    data = text.encode("ascii") if isinstance(text, str) else text
    found = [body for kind, _, body in pem.unarmor(data, multiple=True) if kind == label]
    if not found:
        raise ValueError(f"no {label} block")
    return found


def single(label: str, text: str | bytes) -> bytes:
    """The content of the one PEM block of this label; ``ValueError`` where there are more or none."""
    found = unarmor(label, text)
    if len(found) != 1:
        raise ValueError(f"more than one {label} block")
    return found[0]
