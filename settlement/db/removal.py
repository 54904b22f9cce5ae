"""``python -m settlement.db.removal``: delete the embedded database of the configured data directory."""

from __future__ import annotations

import os
import sys

from settlement.config import ConfigError, load_settings
from settlement.db.embedded import EmbeddedPostgres
from settlement.db.errors import EmbeddedError


def main() -> int:
    """Remove it; the exit code."""
    try:
        data_dir = load_settings(os.environ).data_dir
        removed = EmbeddedPostgres(data_dir).remove()
    except (ConfigError, EmbeddedError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"removed the database of {data_dir}\n" if removed else f"there is no database in {data_dir}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
