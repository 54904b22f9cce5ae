"""A scripted service over loopback: it speaks the protocol by itself and does to a till what a test writes down."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import secrets
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from terminal_sdk import wire
from terminal_sdk.crypto import CertificateAuthority, SigningRequest, Sm2PrivateKey, hmac_sm3, sm3

TERMINAL_ID = "YD000001"
VISIT_NO = "ORDER-77"
QUOTE: dict[str, Any] = {
    "token": "quote-token",
    "digest": "ab" * 32,
    "split": {
        "total_fen": 5_000,
        "own_expense_fen": 0,
        "current_year_fen": 4_000,
        "carried_over_fen": 0,
        "bank_fen": 1_000,
        "cash_fen": 0,
    },
    "balance_after": {"current_year_fen": 0, "carried_over_fen": 0},
    "bank_notice": None,
    "expires_at": "2099-01-01T00:00:00Z",
}
_SPLIT = wire.Split(total_fen=1, own_expense_fen=0, current_year_fen=1, carried_over_fen=0, bank_fen=0, cash_fen=0)
RECEIPT = wire.Receipt(
    receipt_id="receipt-1",
    kind="settlement",
    settlement_id="s",
    institution_id="H31010600001",
    institution_name="某药店",
    terminal_id="YD000001",
    visit_no="ORDER-77",
    patient="张*国",
    card_number="A****5678",
    service_date=dt.date(2019, 1, 2),
    posting_date=dt.date(2019, 1, 2),
    issued_at=dt.datetime(2019, 1, 2, tzinfo=dt.UTC),
    lines=[],
    split=_SPLIT,
    bank=None,
    text="某药店\n合计 0.01\n",
)


@dataclass(kw_only=True)
class Heard:
    """One authenticated request, as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes
    json: dict[str, Any]
    session: str
    time_ms: int
    nonce: str
    request: web.Request = field(repr=False)

    @property
    def what(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(kw_only=True)
class Reply:
    status: int
    body: bytes
    mac: str = "right"  # or "wrong", "none"
    headers: dict[str, str] = field(default_factory=dict)


Step = Callable[[Heard], Awaitable[Reply | None]]
"""What to do with the next request; None: the connection is cut without an answer."""


class ScriptedService:
    """Sign-in is real; every other request takes the next step of the script, or ``otherwise``."""

    def __init__(self, terminal_key: Sm2PrivateKey) -> None:
        self.terminal_key = terminal_key.public_key
        self.script: deque[Step] = deque()
        self.otherwise: Step = refuse(599, "NOT_IN_THE_SCRIPT")
        self.heard: list[Heard] = []
        self.sessions: dict[str, tuple[bytes, bytes]] = {}
        self.sign_ins = 0
        self.clock_ahead_ms = 0
        self.suspended = False
        self.enrol: Callable[[dict[str, Any]], web.StreamResponse | None] | None = None
        self._challenges: set[str] = set()
        self._nonces: set[str] = set()
        self._released = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/sessions/challenge", self._challenge)
        app.router.add_post("/v1/sessions", self._sign_in)
        app.router.add_post("/v1/terminals/enrol", self._enrol)
        app.router.add_route("*", "/{tail:.*}", self._scripted)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def stop(self) -> None:
        self._released.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.clock_ahead_ms

    def expire_sessions(self) -> None:
        self.sessions.clear()

    def calls(self, what: str) -> list[Heard]:
        return [heard for heard in self.heard if heard.what == what]

    @property
    def sends(self) -> list[Heard]:
        return self.calls("POST /v1/settlements")

    async def hang(self, heard: Heard) -> Reply | None:
        """Never answer."""
        await self._released.wait()
        return None

    async def _challenge(self, request: web.Request) -> web.Response:
        if self.suspended:
            return _error(403, "TERMINAL_SUSPENDED")
        challenge = secrets.token_hex(16)
        self._challenges.add(challenge)
        return _json(200, {"challenge": challenge, "expires_at": "2099-01-01T00:00:00Z"})

    async def _sign_in(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        self._challenges.remove(body["challenge"])
        message = f"settlement-sign-in-1\n{TERMINAL_ID}\n{body['challenge']}".encode()
        self.terminal_key.verify(message, bytes.fromhex(body["signature"]))
        self.sign_ins += 1
        session_id = f"session-{self.sign_ins}"
        mac_key, pin_key = secrets.token_bytes(32), secrets.token_bytes(16)
        self.sessions[session_id] = (mac_key, pin_key)
        return _json(
            200,
            {
                "session_id": session_id,
                "terminal_id": TERMINAL_ID,
                "institution_id": "H31010600001",
                "sealed_keys": self.terminal_key.encrypt(mac_key + pin_key).hex(),
                "expires_at": dt.datetime.fromtimestamp(self.now_ms() / 1000 + 80_000, dt.UTC).isoformat(),
                "server_time_ms": self.now_ms(),
            },
        )

    async def _enrol(self, request: web.Request) -> web.StreamResponse:
        assert self.enrol is not None
        answer = self.enrol(json.loads(await request.read()))
        return answer if answer is not None else _cut(request)

    async def _scripted(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        session = request.headers["X-Terminal-Session"]
        if session not in self.sessions:
            return _error(401, "SESSION_EXPIRED")
        mac_key, _ = self.sessions[session]
        nonce, time_ms = request.headers["X-Nonce"], int(request.headers["X-Time"])
        text = f"{request.method}\n{request.raw_path}\n{time_ms}\n{nonce}\n{sm3(body).hex()}"
        if request.headers["X-Mac"] != hmac_sm3(mac_key, text.encode()).hex():
            return _error(401, "MAC_INVALID")
        if abs(time_ms - self.now_ms()) > 60_000:
            return _error(401, "CLOCK_SKEW")
        if nonce in self._nonces:
            return _error(401, "NONCE_REPLAYED")
        self._nonces.add(nonce)
        heard = Heard(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            body=body,
            json=json.loads(body) if body else {},
            session=session,
            time_ms=time_ms,
            nonce=nonce,
            request=request,
        )
        self.heard.append(heard)
        step = self.script.popleft() if self.script else self.otherwise
        reply = await step(heard)
        if reply is None:
            return _cut(request)
        mac = hmac_sm3(mac_key, f"{reply.status}\n{nonce}\n{sm3(reply.body).hex()}".encode()).hex()
        headers = {"right": {"X-Mac": mac}, "wrong": {"X-Mac": "0" * 64}, "none": {}}[reply.mac]
        return web.Response(status=reply.status, body=reply.body, headers={**headers, **reply.headers})


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:  # else the till has cut it already
        request.transport.abort()
    return web.Response()


def _json(status: int, content: object) -> web.Response:
    return web.Response(status=status, body=json.dumps(content).encode(), content_type="application/json")


def _error(status: int, code: str) -> web.Response:
    return _json(status, {"error": {"code": code, "message": "scripted"}})


def refuse(status: int, code: str, *, mac: str = "right", **more: object) -> Step:
    async def step(heard: Heard) -> Reply:
        body = json.dumps({"error": {"code": code, "message": "scripted", **more}}).encode()
        return Reply(status=status, body=body, mac=mac)

    return step


def page(status: int, **headers: str) -> Step:
    """What a proxy in between answers."""

    async def step(heard: Heard) -> Reply:
        return Reply(status=status, body=b"<html>proxy</html>", mac="none", headers=headers)

    return step


async def cut(heard: Heard) -> Reply | None:
    """The request arrived; the connection is lost before an answer."""
    return None


def settlement(state: str, *, mac: str = "right", status: int | None = None, **more: object) -> Step:
    """A settlement in that state, under the key that was asked about."""

    async def step(heard: Heard) -> Reply:
        content = settlement_json(heard, state) | more
        code = status if status is not None else 200 if content["final"] else 202
        return Reply(status=code, body=json.dumps(content).encode(), mac=mac)

    return step


def settlement_json(heard: Heard, state: str) -> dict[str, Any]:
    key = heard.json.get("idempotency_key") or heard.query.get("idempotency_key") or "by-id-00"
    total = heard.json.get("total_fen", 5_000)
    split = {
        "total_fen": total,
        "own_expense_fen": 0,
        "current_year_fen": total,
        "carried_over_fen": 0,
        "bank_fen": 0,
        "cash_fen": 0,
    }
    return {
        "settlement_id": "0190b0a4-0000-7000-8000-000000000001",
        "idempotency_key": key,
        "visit_no": VISIT_NO,
        "state": state,
        "final": state in ("settled", "declined", "reversed"),
        "split": split,
        "accepted_at": "2019-01-02T03:04:05Z",
        "deadline_at": "2019-01-02T03:06:35Z",
        "posting_date": "2019-01-02" if state == "settled" else None,
        "bank": None,
        "bank_notice": None,
        "decline": {"code": "BANK_DECLINED", "message": "no funds", "bank_code": "51"} if state == "declined" else None,
        "receipt_id": "receipt-1" if state == "settled" else None,
        "reversal_id": None,
    }


def reversal(*, arrived: bool, final: bool = True) -> Step:
    async def step(heard: Heard) -> Reply:
        content = {
            "reversal_id": "reversal-1",
            "idempotency_key": heard.json.get("idempotency_key", "asked-00"),
            "settlement_id": "0190b0a4-0000-7000-8000-000000000001" if arrived else None,
            "state": "reversed" if final else "reversing",
            "final": final,
            "returned": None,
            "bank": None,
            "receipt_id": None,
        }
        return Reply(status=200 if final else 202, body=json.dumps(content).encode())

    return step


def refund(*, final: bool = True) -> Step:
    async def step(heard: Heard) -> Reply:
        content = {
            "refund_id": "refund-1",
            "idempotency_key": heard.json.get("idempotency_key", "asked-00"),
            "settlement_id": "0190b0a4-0000-7000-8000-000000000001",
            "state": "refunded" if final else "refunding",
            "final": final,
            "returned": msgspec.to_builtins(_SPLIT),
            "bank": None,
            "receipt_id": "receipt-2" if final else None,
        }
        return Reply(status=200 if final else 202, body=json.dumps(content).encode())

    return step


def issue(ca: CertificateAuthority, request: dict[str, Any], *, key: Sm2PrivateKey | None = None) -> web.Response:
    """The answer to an enrolment; ``key``: another one than was asked for."""
    signing_request = SigningRequest.from_pem(request["csr_pem"])
    signing_request.verify()
    root = ca.certificate
    public_key = key.public_key if key else signing_request.public_key
    certificate = ca.issue(signing_request.common_name, public_key, root.not_before, root.not_after)
    answer = {
        "terminal_id": request["terminal_id"],
        "institution_id": "H31010600001",
        "certificate_pem": certificate.pem(),
        "ca_pem": root.pem(),
    }
    return web.Response(body=json.dumps(answer).encode(), content_type="application/json")


def answer(content: object) -> Step:
    """That content, whatever was asked."""
    body = wire.encode(content) if isinstance(content, msgspec.Struct) else json.dumps(content).encode()

    async def step(_: Heard) -> Reply:
        return Reply(status=200, body=body)

    return step


UNKNOWN = refuse(404, "SETTLEMENT_UNKNOWN")


def journal_rows(path: Path) -> list[tuple[str, str, str]]:
    """(key, operation, state), read from the file as any other process would."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return db.execute("select idempotency_key, operation, state from attempt order by prepared_at").fetchall()
    finally:
        db.close()


class Steps:
    """The scripted steps, for tests to write with."""

    settlement = staticmethod(settlement)
    reversal = staticmethod(reversal)
    refund = staticmethod(refund)
    refuse = staticmethod(refuse)
    answer = staticmethod(answer)
    page = staticmethod(page)
    cut = staticmethod(cut)
    unknown = staticmethod(UNKNOWN)
    journal_rows = staticmethod(journal_rows)
    RECEIPT = RECEIPT
    Heard = Heard
    Reply = Reply
