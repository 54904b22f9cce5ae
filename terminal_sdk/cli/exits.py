"""How the program ends: one number for each thing a till must tell apart. The same table stands in help and guide."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of ``settlement-terminal``. 0 always means that what was asked for is done."""

    DONE = 0
    GIVEN_UP = 1
    USAGE = 2
    CARD = 3
    PIN = 4
    DECLINED = 10
    REVERSED = 11
    REFUSED = 12
    NOT_YET_KNOWN = 13
    WAITING = 14
    UNREACHABLE = 20
    SIGN_IN_REFUSED = 21
    ENROLMENT_REFUSED = 22
    JOURNAL = 30
    ATTEMPT_OPEN = 31
    HOME = 32
    FORWARDING = 33
    QUEUE_FULL = 34
    PRINTING = 40
    FAILURE = 70


MEANINGS: dict[Exit, str] = {
    Exit.DONE: "done: paid, taken back or shown, as was asked; a receipt that does not print changes nothing about it",
    Exit.GIVEN_UP: "given up at a prompt, or Ctrl-C before anything was sent: nothing happened",
    Exit.USAGE: "wrong usage: an option, the bill or the card file; nothing was sent",
    Exit.CARD: "the card or the reader failed; nothing was sent",
    Exit.PIN: "the PIN has the wrong form, is wrong, or is blocked; nothing was sent",
    Exit.DECLINED: "declined: not paid, nothing was charged",
    Exit.REVERSED: "reversed: not paid, it was taken back",
    Exit.REFUSED: "refused by the service: nothing was changed; the message says what to mend",
    Exit.NOT_YET_KNOWN: "not yet known: it may be paid or not; do not charge in another way before status or journal"
    " recover have told",
    Exit.WAITING: "something waits: to be sent, to be learned or to be handed out; waiting shows what",
    Exit.UNREACHABLE: "the service cannot be reached, or something else answers; nothing was sent",
    Exit.SIGN_IN_REFUSED: "the service refused this terminal's sign-in; nothing was sent",
    Exit.ENROLMENT_REFUSED: "the service refused the enrolment code or the request",
    Exit.JOURNAL: "the journal cannot be opened, read or written; nothing was sent",
    Exit.ATTEMPT_OPEN: "an open attempt holds a line of this bill, or the key is another bill's; nothing was sent",
    Exit.HOME: "the till's folder: not enrolled, unreadable, or open to other users",
    Exit.FORWARDING: "another forwarder is at work on this till's journal",
    Exit.QUEUE_FULL: "so much waits for the service that nothing new is begun; nothing was sent",
    Exit.PRINTING: "the receipt is there, but could not be printed",
    Exit.FAILURE: "a failure nobody foresaw; open attempts are in the journal",
}


def exit_lines(*codes: Exit) -> str:
    """A help paragraph that click leaves as it is: the exit codes of one command."""
    rows = "\n".join(f"  {int(code):>2}  {_first(MEANINGS[code])}" for code in codes)
    return f"\b\nExit codes (all of them: docs/guide/till.md):\n{rows}"


def _first(meaning: str) -> str:
    """The part of a meaning before its explanation, so that a row fits the help page."""
    return meaning.partition(";")[0]
