"""The choice of the library: order, force, fallback, self-test; and that the libraries agree with each other."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terminal_sdk.crypto import BackendUnavailable, SignatureInvalid, Sm2PrivateKey, Sm2PublicKey, curve
from terminal_sdk.crypto.backends import ENVIRONMENT_VARIABLE, Sm2Engine, backend, choose, libcrypto, openssl_sm2
from terminal_sdk.crypto.backends.gmssl_pyx import GmsslPyxSm2, GmsslPyxSymmetric
from terminal_sdk.crypto.backends.openssl_sm2 import OpensslSm2
from terminal_sdk.crypto.backends.openssl_symmetric import OpensslSymmetric
from terminal_sdk.crypto.backends.self_test import sm2_works, symmetric_works

digests = st.binary(min_size=32, max_size=32)
blocks = st.binary(min_size=16, max_size=16)
few = settings(max_examples=25, deadline=None)


@pytest.fixture
def fresh_choice() -> Iterator[None]:
    backend.cache_clear()
    yield
    backend.cache_clear()


def test_openssl_comes_first() -> None:
    chosen = choose()
    assert chosen.name == "sm2=openssl sm3/sm4=openssl"
    assert chosen.releases_gil


@pytest.mark.parametrize("wanted", ["openssl", "gmssl-pyx"])
def test_a_library_can_be_forced(wanted: str) -> None:
    chosen = choose(wanted)
    assert (chosen.sm2.name, chosen.symmetric.name) == (wanted, wanted)


def test_the_environment_forces_a_library() -> None:
    # a process of its own: the choice is made once in each
    program = "from terminal_sdk.crypto import backend; print(backend().name)"
    environment = {**os.environ, ENVIRONMENT_VARIABLE: "gmssl-pyx"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "sm2=gmssl-pyx sm3/sm4=gmssl-pyx"


def test_an_unknown_library_is_refused() -> None:
    with pytest.raises(BackendUnavailable, match="openssl, gmssl-pyx"):
        choose("openssI")


def test_without_openssl_the_other_library_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libcrypto, "CANDIDATES", {sys.platform: ("libcrypto-that-does-not-exist.so",)})
    assert choose().sm2.name == "gmssl-pyx"


def test_forced_openssl_that_is_missing_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libcrypto, "CANDIDATES", {sys.platform: ("libcrypto-that-does-not-exist.so",)})
    with pytest.raises(BackendUnavailable, match="no OpenSSL 3 library"):
        choose("openssl")


@pytest.mark.usefixtures("fresh_choice")
def test_the_choice_is_made_once() -> None:
    assert backend() is backend()


class BelievesEverything(OpensslSm2):
    """A library whose verification was broken."""

    def verify_digest(self, point: bytes, digest: bytes, signature: bytes) -> bool:
        return True


class LosesTheTag(GmsslPyxSymmetric):
    """A library that decrypts without looking at the tag."""

    def gcm_decrypt(self, key: bytes, nonce: bytes, data: bytes, aad: bytes) -> bytes | None:
        return b"a key to be sealed"


def test_the_self_test_finds_a_broken_library() -> None:
    assert sm2_works(OpensslSm2())
    assert sm2_works(GmsslPyxSm2())
    assert symmetric_works(OpensslSymmetric())
    assert symmetric_works(GmsslPyxSymmetric())
    assert not sm2_works(BelievesEverything())
    assert not symmetric_works(LosesTheTag())


def test_a_library_that_fails_its_self_test_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openssl_sm2, "OpensslSm2", BelievesEverything)
    assert choose().sm2.name == "gmssl-pyx"
    with pytest.raises(BackendUnavailable, match="openssl: wrong answers in the self-test"):
        choose("openssl")


SM2_ENGINES: list[Sm2Engine] = [OpensslSm2(), GmsslPyxSm2()]


@pytest.mark.parametrize(("maker", "checker"), [SM2_ENGINES, SM2_ENGINES[::-1]], ids=["openssl", "gmssl-pyx"])
@given(digest=digests)
@few
def test_each_library_accepts_the_signatures_of_the_other(maker: Sm2Engine, checker: Sm2Engine, digest: bytes) -> None:
    private, point = maker.generate()
    signature = maker.sign_digest(private, point, digest)
    assert checker.verify_digest(point, digest, signature)
    assert not checker.verify_digest(point, bytes((digest[0] ^ 1,)) + digest[1:], signature)


@pytest.mark.parametrize(("maker", "checker"), [SM2_ENGINES, SM2_ENGINES[::-1]], ids=["openssl", "gmssl-pyx"])
@given(secret=st.binary(min_size=8, max_size=255))
@few
def test_each_library_decrypts_what_the_other_encrypts(maker: Sm2Engine, checker: Sm2Engine, secret: bytes) -> None:
    private, point = checker.generate()
    assert checker.decrypt(private, point, maker.encrypt(point, secret)) == secret


@pytest.mark.parametrize("engine", SM2_ENGINES, ids=["openssl", "gmssl-pyx"])
@pytest.mark.parametrize("signature", [bytes(64), b"\xff" * 64, bytes(63) + b"\1"], ids=["zeros", "ones", "r is 0"])
def test_each_library_refuses_numbers_out_of_range_itself(engine: Sm2Engine, signature: bytes) -> None:
    _, point = engine.generate()
    assert engine.verify_digest(point, bytes(32), signature) is False


@given(d=st.integers(1, curve.N - 2))
@few
def test_public_keys_agree(d: int) -> None:
    private = d.to_bytes(32, "big")
    assert OpensslSm2().public_point(private) == GmsslPyxSm2().public_point(private)


@given(key=blocks, iv=blocks, data=st.binary(max_size=200), aad=st.binary(max_size=40))
@few
def test_symmetric_libraries_agree(key: bytes, iv: bytes, data: bytes, aad: bytes) -> None:
    one, two = OpensslSymmetric(), GmsslPyxSymmetric()
    whole = data + bytes(16 - len(data) % 16)
    assert one.sm3(data) == two.sm3(data)
    assert one.hmac_sm3(aad, data) == two.hmac_sm3(aad, data)
    assert one.encrypt_block(key, iv) == two.encrypt_block(key, iv)
    assert one.decrypt_block(key, iv) == two.decrypt_block(key, iv)
    assert one.cbc_encrypt(key, iv, whole) == two.cbc_encrypt(key, iv, whole)
    assert one.cbc_decrypt(key, iv, whole) == two.cbc_decrypt(key, iv, whole)
    sealed = one.gcm_encrypt(key, iv[:12], data, aad)
    assert sealed == two.gcm_encrypt(key, iv[:12], data, aad)
    assert one.gcm_decrypt(key, iv[:12], sealed, aad) == two.gcm_decrypt(key, iv[:12], sealed, aad) == data


def test_verification_in_several_threads() -> None:
    """Keys, good and bad signatures mixed: no thread sees another's answer."""
    keys = [Sm2PrivateKey.generate() for _ in range(4)]
    signatures = [key.sign(b"bill %d" % index) for index, key in enumerate(keys)]
    wrong: list[str] = []

    def work(mine: int) -> None:
        for turn in range(100):
            index = (mine + turn) % len(keys)
            key = Sm2PublicKey.from_bytes(keys[index].public_key.to_bytes())
            key.verify(b"bill %d" % index, signatures[index])
            try:
                key.verify(b"another bill", signatures[index])
            except SignatureInvalid:
                continue
            wrong.append("a wrong signature was accepted")

    def guarded(mine: int) -> None:
        try:
            work(mine)
        except Exception as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=guarded, args=(mine,)) for mine in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
