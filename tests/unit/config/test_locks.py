"""The lock files: a hash for everything, no registry's address, and one version of each package in both."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
REQUIREMENTS = ROOT / "requirements"
LOCKS = sorted(path.name for path in REQUIREMENTS.glob("*.txt"))
NODE_LOCK = ROOT / "tests" / "interop" / "package-lock.json"
PINNED = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[^ ;]+)(?: ; (?P<marker>[^\\]+?))?")


def entries(name: str) -> dict[str, tuple[str, list[str]]]:
    """Package → (version, hashes)."""
    found = {}
    for entry in re.split(r"\n(?=\S)", (REQUIREMENTS / name).read_text("utf-8").strip()):
        head, *hashes = [line.strip().removesuffix("\\").strip() for line in entry.splitlines()]
        match = PINNED.fullmatch(head)
        assert match is not None, f"{name}: {head!r} is not a pinned requirement"
        found[match["name"]] = (match["version"], hashes)
    return found


def test_the_locks_are_found() -> None:
    assert LOCKS == ["dev.txt", "pcsc-build.txt", "pcsc.txt", "runtime.txt"]
    assert len(entries("runtime.txt")) > 20


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_is_pinned_and_hashed(name: str) -> None:
    locked = entries(name)
    for package, (_, hashes) in locked.items():
        assert hashes, f"{name}: {package} has no hash"
        for line in hashes:
            assert re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line), f"{name}: {package}: {line}"


def test_the_node_lock_has_a_hash_for_everything_and_names_no_registry() -> None:
    text = NODE_LOCK.read_text("utf-8")
    packages = {name: package for name, package in json.loads(text)["packages"].items() if name}
    assert len(packages) > 2
    for name, package in packages.items():
        assert package["integrity"].startswith("sha512-"), name
    assert "resolved" not in text


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_registry(name: str) -> None:
    text = (REQUIREMENTS / name).read_text("utf-8")
    assert not re.search(r"https?:|file:|--(extra-)?index-url|--find-links|--trusted-host| @ ", text)


def test_dev_holds_all_of_runtime_at_the_same_versions() -> None:
    runtime, dev = entries("runtime.txt"), entries("dev.txt")
    assert {name: dev[name][0] for name in runtime if name in dev} == {name: runtime[name][0] for name in runtime}
