"""What every user of a load is: a clerk at a till, who does with the terminal kit what a till does."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar

import gevent
from locust import User, constant, task

from loadtest.bridge import CallFailed
from loadtest.floor import Floor
from loadtest.plan import Kind
from loadtest.tills import Till
from loadtest.visits import Visit, outcome_of
from terminal_sdk import Bill, NotYetKnown, Refused, Result, Reversed, Settled, TerminalError

T = TypeVar("T")

_IDLE_S = 0.5
_IN_DOUBT_WAIT_S = 60.0


class TillUser(User):
    """A clerk at the tills of one kind: takes the next arrival, waits until it is due, and serves it to its end.

    A class of your own sets ``kind`` and ``weight``, and may bring another ``serve``; see docs/guide/load-tester.md.
    """

    abstract = True
    wait_time = constant(0)
    kind: ClassVar[Kind]
    floor: ClassVar[Floor]
    """Set by whoever runs the crowd."""

    @task
    def next_patient(self) -> None:
        """One arrival."""
        arrival = self.floor.take(self.kind.name)
        due_ms = None if arrival is None else self.floor.wait_for(arrival)
        if arrival is None or due_ms is None:
            gevent.sleep(_IDLE_S)
            return
        visit = self.floor.enter(arrival, due_ms)
        try:
            self.serve(visit)
        except TerminalError as error:
            if visit.answered_ms is None:
                visit.first = f"error {type(error).__name__}"
        finally:
            self.floor.leave(visit)

    def serve(self, visit: Visit) -> None:
        """What happens at the till: pay, and what the plan wishes after that."""
        self.pay(visit)
        wish = visit.arrival.wish
        if isinstance(visit.result, Settled):
            if wish.receipt:
                self.receipt(visit)
            if wish.repeat:
                self.repeat(visit)
            if wish.reverse:
                self.reverse(visit)
        if wish.status:
            self.status(visit)

    # what a till can do, each reported to Locust under its name

    def pay(self, visit: Visit) -> None:
        """Quote if wished, settle, and wait for what is not yet known. Raises ``TerminalError``."""
        arrival, card, bill = visit.arrival, self.floor.card(visit.arrival), self._bill(visit)
        main = self._till(visit).main
        quote = self.sdk("quote", main.quote(card=card, **bill)) if arrival.wish.quoted else None
        try:
            result: Result = self.sdk(
                "settle",
                main.settle(
                    card=card,
                    quote=quote,
                    bank_ceiling_fen=None if quote else arrival.wish.total_fen,
                    pin=self._pin(visit),
                    on_bank_decline=arrival.wish.on_bank_decline,
                    deadline_ms=arrival.wish.deadline_ms,
                    idempotency_key=visit.key,
                    **bill,
                ),
            )
        finally:
            visit.signed = card.signed
        visit.note(result, self.floor.now_ms)
        if isinstance(result, NotYetKnown):
            visit.note(self.sdk("wait", main.wait(result, timeout_s=_IN_DOUBT_WAIT_S)), self.floor.now_ms)

    def receipt(self, visit: Visit) -> None:
        """The receipt; its sums must be those of the result."""
        assert isinstance(visit.result, Settled)  # noqa: S101 - asked for only then
        receipt = self.sdk("receipt", visit.result.receipt())
        if (receipt.split.bank_fen, receipt.split.cash_fen) != (visit.result.split.bank_fen, visit.result.cash_fen):
            visit.problems.append("the receipt names other amounts than the result")

    def status(self, visit: Visit) -> None:
        """Ask what became of the bill, by its key; it must be what the till knows."""
        seen = self.sdk("status", self._till(visit).main.status(idempotency_key=visit.key))
        if isinstance(seen, NotYetKnown) or isinstance(visit.result, NotYetKnown):
            return
        if outcome_of(seen) != visit.outcome:
            visit.problems.append(f"the till knows it as {visit.outcome}, its status says {outcome_of(seen)}")

    def repeat(self, visit: Visit) -> None:
        """The same key once more, by a till that has forgotten: it must be the same settlement."""
        assert isinstance(visit.result, Settled)  # noqa: S101 - asked for only then
        again = self.sdk(
            "settle again",
            self._till(visit).second.settle(
                card=self.floor.card(visit.arrival),
                bank_ceiling_fen=visit.arrival.wish.total_fen,
                pin=self._pin(visit),
                on_bank_decline=visit.arrival.wish.on_bank_decline,
                deadline_ms=visit.arrival.wish.deadline_ms,
                idempotency_key=visit.key,
                **self._bill(visit),
            ),
        )
        visit.repeats += 1
        if isinstance(again, Reversed):  # it could not be sure of a refusal, and took the bill back
            visit.reversal = again
        elif isinstance(again, Settled) and again.settlement_id != visit.result.settlement_id:
            visit.problems.append("the same key gave another settlement")
        elif not isinstance(again, Settled | NotYetKnown):
            visit.problems.append(f"settled, and under the same key again {outcome_of(again)}")

    def reverse(self, visit: Visit) -> None:
        """Take the bill back whole, and wait until that is known."""
        assert isinstance(visit.result, Settled)  # noqa: S101 - asked for only then
        main = self._till(visit).main
        visit.reversal = self.sdk("reverse", main.reverse(settlement_id=visit.result.settlement_id))
        if isinstance(visit.reversal, NotYetKnown):
            seen = self.sdk("wait", main.wait(visit.reversal, timeout_s=_IN_DOUBT_WAIT_S))
            if isinstance(seen, Reversed | Refused | NotYetKnown):
                visit.reversal = seen

    def sdk(self, name: str, call: Coroutine[Any, Any, T]) -> T:
        """Run a call of the kit and report it to Locust. Raises ``TerminalError``.

        A refusal and an exception count as failures there; declined and not yet known are outcomes.
        """
        try:
            result, took_ms = self.floor.bridge.call(call)
        except CallFailed as failed:
            self._report(name, failed.took_ms, failed.reason)
            raise failed.reason from None
        self._report(name, took_ms, RefusedError(result.code) if isinstance(result, Refused) else None)
        return result

    def _report(self, name: str, took_ms: float, error: BaseException | None) -> None:
        self.environment.events.request.fire(
            request_type="SDK", name=name, response_time=took_ms, response_length=0, exception=error, context={}
        )

    def _till(self, visit: Visit) -> Till:
        return self.floor.equipment.tills[visit.arrival.terminal_id]

    def _pin(self, visit: Visit) -> str | None:
        return self.floor.equipment.patients[visit.arrival.patient].pin if visit.arrival.wish.pin else None

    def _bill(self, visit: Visit) -> Bill:
        wish = visit.arrival.wish
        return Bill(
            visit_no=visit.arrival.visit_no,
            visit_type=wish.visit_type,
            service_date=self.floor.service_date,
            lines=wish.lines,
        )


class RefusedError(Exception):
    """How a refusal appears in Locust's list of failures: by its code."""
