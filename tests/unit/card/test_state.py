"""A card's durable state: whole or unchanged, and shared safely between processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from terminal_sdk.card import CardState, CardStateInvalid, JsonFileState, MemoryState

RAISE = """
import sys
from pathlib import Path
from terminal_sdk.card import CardState, JsonFileState
store = JsonFileState(Path(sys.argv[1]))
for _ in range(50):
    print(store.update(lambda state: CardState(counter=state.counter + 1)).counter)
"""


def _raised(state: CardState) -> CardState:
    return CardState(counter=state.counter + 1, pin_tries=state.pin_tries)


def test_a_missing_file_is_a_fresh_card(tmp_path: Path) -> None:
    store = JsonFileState(tmp_path / "card.state")

    assert store.load() == CardState(counter=0, pin_tries=3)
    assert store.update(_raised).counter == 1
    assert JsonFileState(tmp_path / "card.state").load().counter == 1


def test_a_change_that_raises_changes_nothing(tmp_path: Path) -> None:
    def refuse(state: CardState) -> CardState:
        raise RuntimeError(state.counter)

    for store in (MemoryState(), JsonFileState(tmp_path / "card.state")):
        store.update(_raised)
        with pytest.raises(RuntimeError):
            store.update(refuse)
        assert store.load().counter == 1


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"counter":-1}', '{"counter":4294967296}', '{"pin_tries":4}', '{"other":1}']
)
def test_a_broken_file_is_a_typed_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "card.state"
    path.write_text(content)

    with pytest.raises(CardStateInvalid):
        JsonFileState(path).load()
    with pytest.raises(CardStateInvalid):
        JsonFileState(path).update(_raised)
    assert path.read_text() == content


def test_a_directory_that_is_gone_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(CardStateInvalid):
        JsonFileState(tmp_path / "gone" / "card.state").update(_raised)


def test_a_failed_write_leaves_the_old_state_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "card.state"
    store = JsonFileState(path)

    def occupy(state: CardState) -> CardState:
        path.mkdir()  # between reading and writing: the rename onto it must fail, even for root
        return _raised(state)

    with pytest.raises(CardStateInvalid, match="cannot be written"):
        store.update(occupy)

    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["card.state", "card.state.lock"]


@pytest.mark.skipif(os.name != "posix", reason="file locks are POSIX only")
def test_processes_that_share_a_card_never_get_the_same_counter(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RAISE, str(tmp_path / "card.state")]
    first, second = (subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2))

    counters = [int(line) for process in (first, second) for line in process.communicate(timeout=60)[0].split()]

    assert sorted(counters) == list(range(1, 101))
