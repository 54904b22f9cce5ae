"""Which database server the service uses: the configured one, or an embedded one for as long as it is needed."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

from settlement.config import Settings
from settlement.db.embedded import EmbeddedPostgres


@contextlib.contextmanager
def database_server(settings: Settings) -> Iterator[Settings]:
    """The settings with ``database_url`` filled in; an embedded server is started for the block if there was none.

    Blocks while it starts and stops: enter it before the event loop runs. Raises ``EmbeddedError``.
    """
    if settings.database_url is not None:
        yield settings
        return
    server = EmbeddedPostgres(settings.data_dir)
    try:
        yield dataclasses.replace(settings, database_url=server.start())
    finally:
        server.stop()
