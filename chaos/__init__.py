"""The chaos run: the load test's tills at a service whose processes are killed and whose links are cut meanwhile."""

from __future__ import annotations

import loadtest  # noqa: F401 - it keeps Locust from replacing sockets and threads, before anything imports Locust
