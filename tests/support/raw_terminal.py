"""A terminal by hand: requests made byte by byte, so that a test can make them wrong."""

from __future__ import annotations

import datetime as dt
import io
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from terminal_sdk import Credentials, FeeLine
from terminal_sdk.card import CardImage, VirtualCard
from terminal_sdk.signing import (
    MAC_HEADER,
    NONCE_HEADER,
    SESSION_HEADER,
    TIME_HEADER,
    request_mac,
    sign_in_message,
)
from terminal_sdk.wire import CardRef, SettlementRequest
from tests.support.service import present

_LARGE = 1_000_000
SHANGHAI = dt.timezone(dt.timedelta(hours=8))


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body and headers of an answer."""

    status: int
    body: Any
    raw: bytes
    headers: Mapping[str, str]

    @property
    def code(self) -> str:
        """The error code of a refusal."""
        code: str = self.body["error"]["code"]
        return code


class RawTerminal:
    """A signed-in terminal that sends what it is told to."""

    def __init__(self, http: aiohttp.ClientSession, base_url: str, credentials: Credentials) -> None:
        self.http = http
        self.base_url = base_url
        self.credentials = credentials
        self.session_id = ""
        self.mac_key = b""
        self.pin_key = b""

    @property
    def terminal_id(self) -> str:
        """Its id."""
        return self.credentials.terminal_id

    async def plain(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """A request without a MAC."""
        data = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
        sent = {"Content-Type": "application/json", **(headers or {})}
        # A large body goes as a stream: the client library warns of large byte strings.
        stream = io.BytesIO(data) if data and len(data) > _LARGE else data
        async with self.http.request(method, self.base_url + path, data=stream, headers=sent) as response:
            raw = await response.read()
            is_json = "json" in response.headers.get("Content-Type", "")
            return Answer(response.status, msgspec.json.decode(raw) if is_json and raw else None, raw, response.headers)

    async def sign_in(self) -> Answer:
        """Sign in (签到) and keep the working keys."""
        challenge = await self.plain("POST", "/v1/sessions/challenge", {"terminal_id": self.terminal_id})
        token = challenge.body["challenge"]
        answer = await self.plain(
            "POST",
            "/v1/sessions",
            {
                "terminal_id": self.terminal_id,
                "challenge": token,
                "certificate_fingerprint": self.credentials.certificate.fingerprint,
                "signature": self.credentials.key.sign(sign_in_message(self.terminal_id, token)).hex(),
            },
        )
        if answer.status == 200:
            keys = self.credentials.key.decrypt(bytes.fromhex(answer.body["sealed_keys"]))
            self.session_id, self.mac_key, self.pin_key = answer.body["session_id"], keys[:32], keys[32:]
        return answer

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        nonce: str | None = None,
        time_ms: int | None = None,
        mac: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """An authenticated request; what is given replaces what would be right."""
        data = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        nonce = nonce or secrets.token_hex(16)
        time_ms = int(time.time() * 1_000) if time_ms is None else time_ms
        right = request_mac(self.mac_key, method, path, time_ms, nonce, data)
        sent = {
            SESSION_HEADER: self.session_id,
            TIME_HEADER: str(time_ms),
            NONCE_HEADER: nonce,
            MAC_HEADER: mac or right,
            **(headers or {}),
        }
        return await self.plain(method, path, data or None, sent)

    def settlement(
        self,
        image: CardImage,
        card: VirtualCard,
        lines: list[FeeLine],
        *,
        key: str | None = None,
        visit_no: str | None = None,
        pin: bool = True,
        **changes: Any,
    ) -> dict[str, Any]:
        """A right settlement request as plain data, proved by the card; ``changes`` replace top-level fields."""
        visit_no = visit_no or f"V{secrets.token_hex(6)}"
        total_fen = sum(line.amount_fen for line in lines)
        ceiling_fen = changes.get("bank_ceiling_fen", total_fen)
        now = dt.datetime.now(dt.UTC)
        with present(card) as session:
            proof = session.prove(
                terminal_id=self.terminal_id,
                visit_no=visit_no,
                total_fen=total_fen,
                agreed=f"ceiling:{ceiling_fen}",
                now=now,
            )
            reference = session.read().reference()
            block = session.pin_block(image.pin, self.pin_key) if pin and image.pan else None
        request = SettlementRequest(
            idempotency_key=key or f"key-{secrets.token_hex(8)}",
            visit_no=visit_no,
            visit_type="pharmacy",
            service_date=now.astimezone(SHANGHAI).date(),
            card=CardRef(card_number=reference.card_number, certificate_fingerprint=reference.certificate_fingerprint),
            lines=lines,
            total_fen=total_fen,
            proof=proof,
            bank_ceiling_fen=ceiling_fen,
            pin_block=block.hex() if block else None,
        )
        data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(request))
        return data | changes


@asynccontextmanager
async def raw_terminal(base_url: str, credentials: Credentials) -> AsyncIterator[RawTerminal]:
    """A raw terminal, signed in."""
    connector = aiohttp.TCPConnector(limit=300)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=90)) as http:
        terminal = RawTerminal(http, base_url, credentials)
        await terminal.sign_in()
        yield terminal


def line(amount_fen: int, line_no: int = 1, category: str = "A") -> FeeLine:
    """A fee line of this amount."""
    return msgspec.convert(
        {
            "line_no": line_no,
            "item_code": f"X{line_no}",
            "item_name": "阿莫西林胶囊",
            "category": category,
            "amount_fen": amount_fen,
        },
        FeeLine,
    )
