"""Reading migration files: names, numbers, digests."""

from __future__ import annotations

from pathlib import Path

import pytest

from settlement.db.errors import MigrationError
from settlement.db.migrate import read_migrations


def test_order_is_by_number_and_other_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("0002_b.sql", "0001_a.sql", "README.md", "__init__.py"):
        (tmp_path / name).write_text(f"SELECT '{name}'")
    assert [migration.label for migration in read_migrations(tmp_path)] == ["0001_a", "0002_b"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["0001_a.sql", "0003_c.sql"], "0003_c.sql: expected number 0002 here"),
        (["0002_b.sql"], "expected number 0001"),
        (["0001_a.sql", "0001_b.sql"], "expected number 0002"),
        (["0001-a.sql"], "0001-a.sql: expected a name like"),
        (["1_a.sql"], "1_a.sql: expected a name like"),
    ],
)
def test_gaps_doubles_and_bad_names_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(MigrationError, match=message):
        read_migrations(tmp_path)


def test_line_endings_do_not_change_the_digest(tmp_path: Path) -> None:
    unix, windows = tmp_path / "unix", tmp_path / "windows"
    for folder, ending in ((unix, b"\n"), (windows, b"\r\n")):
        folder.mkdir()
        (folder / "0001_a.sql").write_bytes(b"SELECT 1;" + ending)
    assert read_migrations(unix)[0].digest == read_migrations(windows)[0].digest


def test_this_release_has_well_formed_migrations() -> None:
    assert read_migrations()[0].version == 1
