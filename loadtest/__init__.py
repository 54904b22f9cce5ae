"""The load test: tills and patients at a real service over HTTP, and the proof of the books afterwards."""

from __future__ import annotations

import os

# Locust replaces the standard library's sockets, threads and locks when it is imported. The terminal kit runs on
# asyncio and real threads, so that must not happen; what Locust itself needs of gevent works without it.
os.environ.setdefault("LOCUST_SKIP_MONKEY_PATCH", "1")
