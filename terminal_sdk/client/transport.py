"""One HTTP request, one answer: time-outs and size limits for everything, and nothing is retried here."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp
from yarl import URL

from terminal_sdk.errors import InvalidRequest, TerminalError
from terminal_sdk.signing import MAC_HEADER
from terminal_sdk.wire import ErrorDetail

_CHUNK_BYTES = 64 * 1024
_CONNECTIONS_MAX = 32
_SECONDS = re.compile(r"[0-9]{1,5}")


class NoAnswer(TerminalError):
    """A send came to nothing that can be relied on.

    ``perhaps_processed``: bytes may have left, so the service may have acted. ``session_code``: the session has to be
    renewed, for this reason. ``put_off``: the service proved that it would not take the request now; ``code``: its word
    for why there is no answer, if that is proven.
    """

    def __init__(
        self,
        reason: str,
        *,
        perhaps_processed: bool,
        retry_after_s: float | None = None,
        session_code: str | None = None,
        put_off: ErrorDetail | None = None,
        code: str | None = None,
    ) -> None:
        self.reason = reason
        self.perhaps_processed = perhaps_processed
        self.retry_after_s = retry_after_s
        self.session_code = session_code
        self.put_off = put_off
        self.code = code
        super().__init__(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAnswer:
    """An HTTP answer as it came; who sent it is not judged yet."""

    status: int
    body: bytes = field(repr=False)
    mac: str | None
    retry_after_s: float | None


class Transport(Protocol):
    """The way to the service: aiohttp, or another library of the till's choice."""

    async def exchange(
        self, method: str, path_qs: str, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> RawAnswer:
        """Send once and read the whole answer. Raises ``NoAnswer``."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class HttpTransport:
    """HTTP/1.1 with keep-alive over aiohttp. ``base_url`` is scheme, host and port, without a path.

    No redirects, cookies, compression or proxy settings of the environment. Raises ``InvalidRequest`` for the address.
    """

    def __init__(
        self,
        base_url: str,
        *,
        connect_timeout_s: float,
        answer_bytes_max: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._origin = _origin(base_url)
        self._answer_bytes_max = answer_bytes_max
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS_MAX, ssl=tls if tls is not None else True),
            timeout=aiohttp.ClientTimeout(total=None, connect=connect_timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )

    async def exchange(
        self, method: str, path_qs: str, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> RawAnswer:
        """Send once and read the whole answer. Raises ``NoAnswer``."""
        url = URL(self._origin + path_qs, encoded=True)
        sent_headers = {"Accept": "application/json", "Accept-Encoding": "identity", **headers}
        if body:
            sent_headers["Content-Type"] = "application/json"
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._http.request(
                    method, url, data=body or None, headers=sent_headers, allow_redirects=False
                ) as response,
            ):
                return RawAnswer(
                    status=response.status,
                    body=await self._read(response),
                    mac=response.headers.get(MAC_HEADER),
                    retry_after_s=_retry_after_s(response.headers.get("Retry-After")),
                )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NoAnswer("connection", perhaps_processed=False) from error
        except TimeoutError as error:
            raise NoAnswer("timeout", perhaps_processed=True) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswer("connection lost", perhaps_processed=True) from error

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            size += len(chunk)
            if size > self._answer_bytes_max:
                response.close()
                raise NoAnswer("answer too large", perhaps_processed=True)
            chunks.append(chunk)
        return b"".join(chunks)


def _origin(base_url: str) -> str:
    try:
        url = URL(base_url)
    except ValueError as error:
        raise InvalidRequest("base_url: not an address") from error
    if url.scheme not in ("http", "https") or not url.host or url.path not in ("", "/") or url.query_string or url.user:
        raise InvalidRequest("base_url: give http(s)://host[:port] and nothing else")
    return str(url.origin())


def _retry_after_s(text: str | None) -> float | None:
    """Retry-After in seconds; the form with a date is not used by the service and is passed over."""
    return float(text) if text is not None and _SECONDS.fullmatch(text) else None
