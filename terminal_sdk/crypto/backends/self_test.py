"""Known answers that a library must give before it is used: a build may lack an algorithm, or have it wrong."""

from __future__ import annotations

from terminal_sdk.crypto.backends.port import Sm2Engine, SymmetricEngine

_PRIVATE = bytes.fromhex("3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8")
_POINT = bytes.fromhex(
    "09f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020"
    "ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13"
)
_DIGEST = bytes.fromhex("f0b43e94ba45accaace692ed534382eb17e6ab5a19ce7b31f4486fdfc0d28640")
_SIGNATURE = bytes.fromhex(
    "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3"
    "b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa"
)
"""GM/T 0003.5, A.2: "message digest" under the default identity."""

_SM4_KEY = bytes.fromhex("0123456789abcdeffedcba9876543210")
_SM4_BLOCK = bytes.fromhex("681edf34d206965e86b3e94f536e4246")
"""GB/T 32907, A.1: the key encrypted under itself."""
_SM3_ABC = bytes.fromhex("66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0")
"""GB/T 32905, A.1."""
_SECRET = b"a key to be sealed"


def sm2_works(engine: Sm2Engine) -> bool:
    """Whether the engine gives the standard's answers, refuses what is altered, and undoes what it does."""
    altered = bytes((_DIGEST[0] ^ 1,)) + _DIGEST[1:]
    ciphertext = engine.encrypt(_POINT, _SECRET)
    signature = engine.sign_digest(_PRIVATE, _POINT, _DIGEST)
    return (
        engine.public_point(_PRIVATE) == _POINT
        and engine.verify_digest(_POINT, _DIGEST, _SIGNATURE)
        and not engine.verify_digest(_POINT, altered, _SIGNATURE)
        and engine.verify_digest(_POINT, _DIGEST, signature)
        and engine.decrypt(_PRIVATE, _POINT, ciphertext) == _SECRET
        and engine.decrypt(_PRIVATE, _POINT, ciphertext[:-1] + bytes((ciphertext[-1] ^ 1,))) is None
    )


def symmetric_works(engine: SymmetricEngine) -> bool:
    """Whether the engine gives the standards' answers and undoes what it does, in every mode."""
    nonce, zero_iv = bytes(12), bytes(16)
    sealed = engine.gcm_encrypt(_SM4_KEY, nonce, _SECRET, b"aad")
    return (
        engine.sm3(b"abc") == _SM3_ABC
        and len(engine.hmac_sm3(b"key", b"data")) == len(_SM3_ABC)
        and engine.encrypt_block(_SM4_KEY, _SM4_KEY) == _SM4_BLOCK
        and engine.decrypt_block(_SM4_KEY, _SM4_BLOCK) == _SM4_KEY
        and engine.cbc_encrypt(_SM4_KEY, zero_iv, _SM4_KEY) == _SM4_BLOCK
        and engine.cbc_decrypt(_SM4_KEY, zero_iv, _SM4_BLOCK) == _SM4_KEY
        and engine.gcm_decrypt(_SM4_KEY, nonce, sealed, b"aad") == _SECRET
        and engine.gcm_decrypt(_SM4_KEY, nonce, sealed, b"AAD") is None
    )
