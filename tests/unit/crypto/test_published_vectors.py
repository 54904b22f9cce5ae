"""The numbers printed in the standards, through the public interface, with each library."""

from __future__ import annotations

import pytest

from terminal_sdk.crypto import (
    DEFAULT_ID,
    Sm2PrivateKey,
    Sm2PublicKey,
    sm3,
    sm4_cbc_encrypt,
    sm4_decrypt_block,
    sm4_encrypt_block,
    sm4_gcm_decrypt,
    sm4_gcm_encrypt,
)

pytestmark = pytest.mark.usefixtures("library")

# GM/T 0003.5, annex A
PRIVATE = bytes.fromhex("3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8")
PUBLIC = bytes.fromhex(
    "04"
    "09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
    "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
)
Z = "B2E14C5C79C6DF5B85F4FE7ED8DB7A262B9DA7E07CCB0EA9F4747B8CCDA8A4F3"
SIGNATURE = bytes.fromhex(
    "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3"
    "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA"
)
CIPHERTEXT = bytes.fromhex(
    "04"
    "04EBFC718E8D1798620432268E77FEB6415E2EDE0E073C0F4F640ECD2E149A73"
    "E858F9D81E5430A57B36DAAB8F950A3C64E6EE6A63094D99283AFF767E124DF0"
    "59983C18F809E262923C53AEC295D30383B54E39D609D160AFCB1908D0BD8766"
    "21886CA989CA9C7D58087307CA93092D651EFA"
)

# GB/T 32907, annex A
SM4_KEY = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")


def test_sm2_public_key_of_the_standard() -> None:
    assert Sm2PrivateKey.from_bytes(PRIVATE).public_key.to_bytes() == PUBLIC


def test_sm2_z_value() -> None:
    assert Sm2PublicKey.from_bytes(PUBLIC).z_value(DEFAULT_ID).hex().upper() == Z


def test_sm2_signature_of_the_standard_verifies() -> None:
    Sm2PublicKey.from_bytes(PUBLIC).verify(b"message digest", SIGNATURE)


def test_sm2_ciphertext_of_the_standard_decrypts() -> None:
    assert Sm2PrivateKey.from_bytes(PRIVATE).decrypt(CIPHERTEXT) == b"encryption standard"


@pytest.mark.parametrize(
    ("message", "digest"),
    [
        (b"abc", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"),
        (b"abcd" * 16, "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"),
    ],
    ids=["three bytes", "64 bytes"],
)
def test_sm3_of_the_standard(message: bytes, digest: str) -> None:
    assert sm3(message).hex() == digest


def test_sm4_example_one() -> None:
    block = sm4_encrypt_block(SM4_KEY, SM4_KEY)
    assert block.hex() == "681edf34d206965e86b3e94f536e4246"
    assert sm4_decrypt_block(SM4_KEY, block) == SM4_KEY


@pytest.mark.deep
def test_sm4_example_two_a_million_times() -> None:
    block = SM4_KEY
    for _ in range(1_000_000):
        block = sm4_encrypt_block(SM4_KEY, block)
    assert block.hex() == "595298c7c6fd271f0402f804c33d3f66"


def test_sm4_cbc_vector() -> None:
    # draft-ribose-cfrg-sm4, A.2.2.1; the last block is the PKCS#7 padding
    iv = bytes(range(16))
    plaintext = bytes.fromhex("AAAAAAAABBBBBBBBCCCCCCCCDDDDDDDDEEEEEEEEFFFFFFFFAAAAAAAABBBBBBBB")
    expected = "78EBB11CC40B0A48312AAEB2040244CB4CB7016951909226979B0D15DC6A8F6D"
    assert sm4_cbc_encrypt(SM4_KEY, iv, plaintext)[:-16].hex().upper() == expected


def test_sm4_gcm_vector() -> None:
    # RFC 8998, A.1
    nonce = bytes.fromhex("00001234567800000000ABCD")
    aad = bytes.fromhex("FEEDFACEDEADBEEFFEEDFACEDEADBEEFABADDAD2")
    plaintext = b"".join(bytes((value,)) * 8 for value in (0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF, 0xEE, 0xAA))
    expected = (
        "17F399F08C67D5EE19D0DC9969C4BB7D5FD46FD3756489069157B282BB200735"
        "D82710CA5C22F0CCFA7CBF93D496AC15A56834CBCF98C397B4024A2691233B8D"
        "83DE3541E4C2B58177E065A9BF7B62EC"
    )
    sealed = sm4_gcm_encrypt(SM4_KEY, nonce, plaintext, aad)
    assert sealed.hex().upper() == expected
    assert sm4_gcm_decrypt(SM4_KEY, nonce, sealed, aad) == plaintext
