"""One signed-on connection: requests and answers matched by their whole identity, working keys, network messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from settlement.banks.connection import Connection, Outgoing
from settlement.banks.directory import Bank
from settlement.banks.iso.codec import Message, MessageError, pack, unpack
from settlement.banks.iso.keys import KeySealError, WorkingKeys, network_mac_key, unseal
from settlement.banks.iso.spec import Mti, NetworkCode
from settlement.banks.messages import AnswerKey, key_of
from settlement.banks.tuning import LinkTuning
from settlement.clock import Clock
from settlement.ids import IdSource

Answer = TypeVar("Answer")

_GENERATIONS_KEPT = 2
_LINK_TERMINAL = "00000000"
_BREACHES = frozenset({"garbage", "slow_frame", "stalled", "flood"})


class SessionError(Exception):
    """Signing on, changing keys or an echo failed; the connection is of no use."""


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer. ``sent`` false: not one byte left the process."""

    sent: bool
    detail: str


class _Pending(NamedTuple):
    """Who waits for an answer, and how it is read."""

    future: asyncio.Future[Any]
    read: Callable[[Message], Any]


class Session:
    """Lives as long as its connection; ``on_lost`` is called once, ``on_unmatched`` for answers nobody waits for."""

    def __init__(
        self,
        *,
        bank: Bank,
        zone_key: bytes,
        tuning: LinkTuning,
        clock: Clock,
        ids: IdSource,
        on_lost: Callable[[], None],
        on_unmatched: Callable[[Session, Message], None],
    ) -> None:
        self._bank = bank
        self._zone_key = zone_key
        self._network_key = network_mac_key(zone_key, bank.code)
        self._tuning = tuning
        self._clock = clock
        self._ids = ids
        self._on_lost = on_lost
        self._on_unmatched = on_unmatched
        self._pending: dict[AnswerKey, _Pending] = {}
        self._keys: dict[str, WorkingKeys] = {}
        self._current: WorkingKeys | None = None
        self._trace = int.from_bytes(ids.token(4), "big")
        self._connection = Connection(clock=clock, tuning=tuning, on_body=self._received, on_lost=self._connection_lost)
        self.keys_at = 0.0
        self.lost_for = ""
        self.blamed = False
        self.active_at = clock.monotonic()

    async def open(self) -> None:
        """Connect, sign on, fetch working keys. Raises ``SessionError`` or ``OSError``; bounded by ``asyncio.timeout``
        of the caller."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self._connection, self._bank.host, self._bank.port)
        await self._network(NetworkCode.SIGN_ON)
        await self.change_keys()

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""
        return self._connection.lost

    @property
    def breached(self) -> bool:
        """Whether the connection was given up for what the bank did on it, or left undone."""
        return self.lost_for in _BREACHES

    @property
    def keys(self) -> WorkingKeys:
        """The working keys for the next message."""
        if self._current is None:
            raise SessionError("no working keys yet")
        return self._current

    def mac_key_of(self, message: Message) -> bytes | None:
        """The key that must have made a message's MAC, or None when its key generation is not ours."""
        if message.mti == Mti.NETWORK_ANSWER:
            return self._network_key
        keys = self._keys.get(message.get("53"))
        return keys.mac if keys else None

    def awaits(self, key: AnswerKey) -> bool:
        """Whether a request of this identity is under way."""
        return key in self._pending

    def close(self, reason: str = "closed") -> None:
        """Give the connection up."""
        self._connection.close(reason)

    async def request(
        self,
        key: AnswerKey,
        body: bytes,
        *,
        send_before: float | None,
        timeout_s: float,
        read: Callable[[Message], Answer],
    ) -> Answer | Failure:
        """Send a body once and wait for the answer with this key.

        ``read`` is called as the answer comes, so that a second one right behind it is seen for what it is.
        """
        future: asyncio.Future[Answer | Failure] = asyncio.get_running_loop().create_future()

        def refused(detail: str) -> None:
            if not future.done():
                future.set_result(Failure(sent=False, detail=detail))

        outgoing = Outgoing(body, send_before, refused)
        pending = self._pending[key] = _Pending(future, read)
        self._connection.send(outgoing)
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            # The answer may have come in the very turn in which time ran out.
            if future.done() and not future.cancelled():
                return future.result()
            return Failure(sent=outgoing.written, detail="timeout" if outgoing.written else "congested")
        finally:
            self._connection.withdraw(outgoing)
            if self._pending.get(key) is pending:
                del self._pending[key]

    async def echo(self) -> None:
        """Ask for a sign of life. Raises ``SessionError``."""
        await self._network(NetworkCode.ECHO)

    async def sign_off(self) -> None:
        """Tell the bank that no more will come. Raises ``SessionError``."""
        await self._network(NetworkCode.SIGN_OFF)

    async def change_keys(self) -> None:
        """Fetch new working keys; the generation before stays valid for what is under way. Raises ``SessionError``."""
        answer = await self._network(NetworkCode.KEY_CHANGE)
        exchange = answer.get("7") + answer.get("11") + answer.get("37")
        try:
            keys = unseal(
                answer.get("48"),
                label=answer.get("53"),
                zone_key=self._zone_key,
                bank=self._bank.code,
                exchange=exchange,
            )
        except KeySealError as error:
            raise SessionError(str(error)) from None
        self._keys[keys.label] = keys
        for label in list(self._keys)[:-_GENERATIONS_KEPT]:
            del self._keys[label]
        self._current = keys
        self.keys_at = self._clock.monotonic()

    async def _network(self, code: NetworkCode) -> Message:
        self._trace = (self._trace + 1) % 1_000_000
        fields = {
            "t": str(Mti.NETWORK),
            "7": f"{self._clock.now():%m%d%H%M%S}",
            "11": f"{self._trace:06d}",
            "37": self._ids.token(6).hex().upper(),
            "41": _LINK_TERMINAL,
            "70": str(code),
        }
        key = (str(Mti.NETWORK_ANSWER), _LINK_TERMINAL, fields["7"], fields["11"], fields["37"])
        body = pack(fields, self._network_key)
        answer = await self.request(
            key, body, send_before=None, timeout_s=self._tuning.echo_timeout_s, read=lambda message: message
        )
        if isinstance(answer, Failure):
            raise SessionError(f"network message {code}: {answer.detail}")
        if not answer.mac_is_valid(self._network_key):
            raise SessionError(f"network message {code}: the answer's MAC is wrong (another zone master key?)")
        if answer.get("39") != "00" or answer.get("70") != code:
            raise SessionError(f"network message {code}: refused with code {answer.get('39') or 'none'}")
        return answer

    def _received(self, body: bytes) -> None:
        self.active_at = self._clock.monotonic()
        try:
            message = unpack(body)
        except MessageError:
            self.close("garbage")
            return
        pending = self._pending.pop(key_of(message), None)
        if pending is not None and not pending.future.done():
            pending.future.set_result(pending.read(message))
        else:
            self._on_unmatched(self, message)

    def _connection_lost(self, reason: str) -> None:
        # Frames that were never written have been refused by now; whoever still waits may have been heard.
        self.lost_for = reason
        pending, self._pending = self._pending, {}
        for waiting in pending.values():
            if not waiting.future.done():
                waiting.future.set_result(Failure(sent=True, detail=reason))
        self._on_lost()
