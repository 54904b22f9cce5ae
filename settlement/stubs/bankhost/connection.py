"""One connection of a service to a bank of the stub: sign-on, working keys, MAC, faults; each message on its own."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, cast

import structlog

from settlement.banks.iso.codec import Message, MessageError, pack, unpack
from settlement.banks.iso.framing import FrameError, FrameSplitter, frame
from settlement.banks.iso.keys import KEY_BYTES, NONCE_BYTES, WorkingKeys, network_mac_key, seal
from settlement.banks.iso.spec import ANSWER_OF, Mti, NetworkCode
from settlement.stubs.bankhost.faults import is_before
from settlement.stubs.bankhost.replies import SILENT, change_fields
from settlement.stubs.bankhost.sending import Sender

if TYPE_CHECKING:
    from settlement.stubs.bankhost.bank import StubBank

APPROVED, FAILED, MAC_WRONG = "00", "96", "A0"
_GENERATIONS_KEPT = 2
_TASKS_MOST = 4_096

log = structlog.get_logger(__name__)


class HostConnection(asyncio.Protocol):
    """The bank's end of a link. Working keys belong to the connection: a new one starts with new keys."""

    def __init__(self, bank: StubBank) -> None:
        self._bank = bank
        self._network_key = network_mac_key(bank.zone_key, bank.profile.code)
        self._splitter = FrameSplitter()
        self._keys: dict[str, WorkingKeys] = {}
        self._generation = 0
        self._signed_on = False
        self._gone = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._deaf = False
        self._transport: asyncio.Transport | None = None
        self._sender: Sender

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A service has connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._sender = Sender(self._transport)
        self._bank.connections.add(self)
        fault = self._bank.faults.take_accepting(self._bank.profile.code)
        self._deaf = fault is not None
        if fault is not None and fault.action == "accept_close":
            self.hang_up()

    def pause_writing(self) -> None:
        """The service takes nothing more for now."""
        self._sender.pause()

    def resume_writing(self) -> None:
        """It takes bytes again."""
        self._sender.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone. What was received is judged all the same; only its answer finds nobody."""
        self._gone = True
        self._sender.resume()
        if not self._tasks:
            self._bank.connections.discard(self)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._gone and not self._tasks:
            self._bank.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Bytes came; every whole message is worked on by itself."""
        if self._deaf:
            return
        try:
            bodies = self._splitter.feed(data)
        except FrameError:
            self.hang_up()
            return
        for body in bodies:
            if len(self._tasks) >= _TASKS_MOST:
                self.hang_up()
                return
            task = asyncio.create_task(self._handle(body))
            self._tasks.add(task)
            task.add_done_callback(self._task_done)

    async def drain(self, seconds: float) -> None:
        """Let what is under way end (so long at most), then close."""
        if self._tasks:
            _, late = await asyncio.wait(list(self._tasks), timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self.hang_up()

    def hang_up(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    async def _handle(self, body: bytes) -> None:
        try:
            message = unpack(body)
        except MessageError:
            self.hang_up()
            return
        if message.mti not in ANSWER_OF:
            self.hang_up()
            return
        try:
            if message.mti == Mti.NETWORK:
                await self._network(message)
            else:
                await self._request(message)
        except Exception:
            log.exception("the bank failed on a message", bank=self._bank.profile.code, mti=message.mti)
            self._answer_failure(message)

    def _answer_failure(self, message: Message) -> None:
        """Code 96: the transaction was rolled back, and the answer says that nothing certain can be said."""
        keys = self._keys.get(message.get("53"))
        if keys is None:
            self.hang_up()
            return
        fields = {**self._bank.bare_answer(message.fields, FAILED), "53": keys.label}
        self._sender.write(frame(pack(fields, keys.mac)))

    # ---- requests -------------------------------------------------------------------------------------------------

    async def _request(self, message: Message) -> None:
        if not self._keys:
            self.hang_up()  # no traffic before sign-on and key exchange
            return
        keys = self._keys.get(message.get("53"))
        if keys is None or not message.mac_is_valid(keys.mac):
            current = self._keys[f"{self._generation:016d}"]
            answer = await self._bank.refuse(message.fields, MAC_WRONG, "MAC wrong")
            self._sender.write(frame(pack({**answer, "53": current.label}, current.mac)))
            return
        fault = self._bank.faults.take(self._bank.profile.code, message.fields)
        if fault is not None and fault.action == "drop_before_commit":
            await self._bank.log((False, message.fields, f"fault: {fault.action}"))
            return
        if fault is not None and is_before(fault, "delay_ms", "after_commit"):
            await asyncio.sleep(fault.delay_ms / 1_000)
        answer = await self._bank.judge(message.fields, keys.pin, fault)
        await self._sender.answer({**answer, "53": keys.label}, keys.mac, fault)

    # ---- network messages -----------------------------------------------------------------------------------------

    async def _network(self, message: Message) -> None:
        fault = self._bank.faults.take(self._bank.profile.code, message.fields)
        echoed = {number: message.get(number) for number in ("7", "11", "37", "41", "70") if message.get(number)}
        answer = {"t": str(Mti.NETWORK_ANSWER), **echoed, "39": APPROVED}
        if not message.mac_is_valid(self._network_key):
            answer["39"] = MAC_WRONG
        elif fault is not None and fault.code and fault.action == "answer_code":
            answer["39"] = fault.code
        elif message.get("70") == NetworkCode.SIGN_ON:
            self._signed_on = True
        elif message.get("70") == NetworkCode.KEY_CHANGE and self._signed_on:
            answer.update(self._new_keys(message))
        elif message.get("70") not in set(NetworkCode) or not self._signed_on:
            answer["39"] = "12"
        note = f"fault: {fault.action}" if fault else ""
        silent = fault is not None and fault.action in SILENT
        frames = [(False, message.fields, note)] if silent else [(False, message.fields, note), (True, answer, note)]
        with contextlib.suppress(Exception):  # the log is not worth a lost link
            await self._bank.log(*frames)
        await self._sender.answer(change_fields(answer, fault), self._network_key, fault)
        if answer["39"] == MAC_WRONG or message.get("70") == NetworkCode.SIGN_OFF:
            self._signed_on = False

    def _new_keys(self, message: Message) -> dict[str, str]:
        """Fields 48 and 53 with fresh keys; the generation before stays valid for messages under way."""
        self._generation += 1
        keys = WorkingKeys(self._generation, self._bank.ids.token(KEY_BYTES), self._bank.ids.token(KEY_BYTES))
        self._keys[keys.label] = keys
        for label in list(self._keys)[:-_GENERATIONS_KEPT]:
            del self._keys[label]
        exchange = message.get("7") + message.get("11") + message.get("37")
        sealed = seal(
            keys,
            zone_key=self._bank.zone_key,
            bank=self._bank.profile.code,
            exchange=exchange,
            nonce=self._bank.ids.token(NONCE_BYTES),
        )
        return {"48": sealed, "53": keys.label}
