"""The page about interoperability: its versions are the installed ones, its snippets run, no test is left out."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from terminal_sdk.crypto import SigningRequest, Sm2PrivateKey, private_key_from_pem
from terminal_sdk.signing import sign_in_message
from tests.interop.node import PACKAGES, Node

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "reference" / "interop.md").read_text("utf-8")


def snippet(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert isinstance(found, str)
    return found


def test_the_versions_are_the_locked_ones() -> None:
    locked = json.loads((HERE / "package-lock.json").read_text("utf-8"))["packages"]
    for package in PACKAGES:
        version = re.escape(locked[f"node_modules/{package}"]["version"])
        assert re.search(rf"^\| \[{package}\].*? \| {version} \|", PAGE, re.MULTILINE), package


def test_every_test_is_on_the_page() -> None:
    modules = {path.name for path in HERE.glob("test_*.py")} - {Path(__file__).name}
    assert set(re.findall(r"`(test_\w+\.py)`", PAGE)) == modules


@pytest.mark.usefixtures("openssl_command")
def test_the_commands_make_a_request_that_enrols(tmp_path: Path) -> None:
    subprocess.run(["sh", "-e", "-c", snippet("sh")], cwd=tmp_path, check=True, capture_output=True, timeout=30)
    request = SigningRequest.from_pem((tmp_path / "till.csr").read_text("ascii"))
    request.verify()
    assert request.common_name == "TILL0001"
    assert request.public_key == private_key_from_pem((tmp_path / "till.key").read_text("ascii")).public_key


def test_the_terminal_in_javascript_signs_in(node: Node) -> None:
    key, keys = Sm2PrivateKey.generate(), bytes(range(64))
    given = [key.to_bytes().hex(), key.public_key.encrypt(keys).hex()]
    call = f"const [key, sealed] = {json.dumps(given)}; const opened = workingKeys(sealed, key);"
    answer = "console.log(JSON.stringify([signIn('TILL0001', 'challenge', key), opened.mac, opened.pin]))"
    program = "\n".join((snippet("js"), call, answer))
    ran = subprocess.run(["node", "-e", program], cwd=HERE, check=True, capture_output=True, timeout=30)
    signature, mac, pin = json.loads(ran.stdout)
    key.public_key.verify(sign_in_message("TILL0001", "challenge"), bytes.fromhex(signature))
    assert bytes(mac + pin) == keys
