"""What the terminal client raises: one family, so that a till can catch ``TerminalError`` and has them all."""

from __future__ import annotations

from terminal_sdk.wire import ErrorDetail


class TerminalError(Exception):
    """Every error of the terminal client. Money is never left in doubt by one: doubt is the result ``NotYetKnown``."""


class TerminalClosed(TerminalError):
    """The terminal is not open here: not entered yet, left, or opened before a fork. Nothing was sent."""


class InvalidRequest(TerminalError, ValueError):
    """The till's own request cannot be right; nothing was written or sent. ``problem`` names the field."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(problem)


class ServiceUnreachable(TerminalError):
    """A call that changes nothing (quote, status, receipt, sign-in) got no usable answer in its time.

    ``reason``: a stable word for what was seen last (``timeout``, ``connection``, ``status 503`` …).
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"no usable answer from the service ({reason})")


class RequestRefused(TerminalError):
    """The service refused a call that changes nothing. ``code`` is stable, ``detail`` is the whole refusal."""

    def __init__(self, status: int, detail: ErrorDetail) -> None:
        self.status = status
        self.detail = detail
        self.code = detail.code
        super().__init__(f"{detail.code}: {detail.message}")


class SignInRefused(RequestRefused):
    """The terminal may not sign in: unknown, suspended, or its certificate is out of date."""


class EnrolmentRefused(RequestRefused):
    """The enrolment code or the certificate request was refused."""


class AnswerInvalid(TerminalError):
    """Sign-in or enrolment was answered by something that is no answer, or is not for this terminal's key."""


class AttemptStillOpen(TerminalError):
    """A line of this visit belongs to an attempt without an answer; a second one could charge twice.

    ``idempotency_key`` is the open attempt: call ``status``, ``wait``, ``reverse`` or ``recover`` for it first.
    """

    def __init__(self, idempotency_key: str) -> None:
        self.idempotency_key = idempotency_key
        super().__init__(f"attempt {idempotency_key} of this visit has no answer yet")


class KeyReused(TerminalError):
    """This idempotency key stands in the journal for another request; a new bill needs a new key."""

    def __init__(self, idempotency_key: str) -> None:
        self.idempotency_key = idempotency_key
        super().__init__(f"the key {idempotency_key} was used for another request")


class QueueFull(TerminalError):
    """So many attempts wait for the service (``waiting``) that no new one is begun; nothing was written or sent.

    A bill that is open can always be taken back. Raised while a forwarder is behind, or none runs.
    """

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        super().__init__(f"{waiting} attempts wait for the service; forward them before new ones are begun")


class ForwarderBusy(TerminalError):
    """Another forwarder is at work on this journal, in this process or in another one."""

    def __init__(self) -> None:
        super().__init__("another forwarder is at work on this journal")


class JournalError(TerminalError):
    """The journal cannot be opened, is not durable enough, or cannot be written. Nothing is sent without it."""


class JournalUnreadable(JournalError):
    """An entry cannot be deciphered: it was written under another terminal key, or altered."""


class CredentialsInvalid(TerminalError):
    """The credentials file cannot be read, or its key and certificate do not belong together."""
