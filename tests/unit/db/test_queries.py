"""Files of named SQL statements."""

from __future__ import annotations

from pathlib import Path

import pytest

from settlement.db.queries import QueryFileError, load_queries, parse_queries

GOOD = """-- Statements of the registry.

-- name: load_card
-- One card by its number.
SELECT id, -- the key
       state
  FROM card
 WHERE number = $1;

-- name: count_cards
SELECT count(*) FROM card
-- end of the file
"""


def test_statements_by_name_without_their_comments() -> None:
    queries = parse_queries(GOOD, "cards.sql")
    assert dict(queries) == {
        "load_card": "SELECT id, -- the key\n       state\n  FROM card\n WHERE number = $1;",
        "count_cards": "SELECT count(*) FROM card",
    }
    with pytest.raises(TypeError):
        queries["load_card"] = ""  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT 1", "line 1: a statement before the first"),
        ("-- name: a\nSELECT 1\n-- name: a\nSELECT 2", "line 3: a was used before, in line 1"),
        ("-- name: a\n-- only a comment\n-- name: b\nSELECT 1", "line 1: a has no statement"),
        ("-- name: a", "line 1: a has no statement"),
        ("-- name: Load-Card\nSELECT 1", "line 1: 'Load-Card' is not a name"),
    ],
)
def test_malformed_files_are_refused_by_line(text: str, message: str) -> None:
    with pytest.raises(QueryFileError, match=f"cards.sql, {message}"):
        parse_queries(text, "cards.sql")


def test_loading_from_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "some_queries_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "cards.sql").write_text(GOOD, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert set(load_queries("some_queries_package", "cards.sql")) == {"load_card", "count_cards"}
