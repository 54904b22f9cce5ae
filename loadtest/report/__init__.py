"""What a run is told as: tables on the terminal, a JSON file, a page of its own, and Locust's page."""

from __future__ import annotations

import json
from pathlib import Path

from loadtest.figures import Figures
from loadtest.report.page import page
from loadtest.report.tables import tables

__all__ = ["tables", "write_files"]

FILES = ("summary.json", "report.html", "locust.html")


def write_files(folder: Path, summary: Figures, locust_page: str) -> list[Path]:
    """Write the files of a report, over those of the last one; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = (json.dumps(summary, ensure_ascii=False, indent=2) + "\n", page(summary), locust_page)
    paths = [folder / name for name in FILES]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    return paths
