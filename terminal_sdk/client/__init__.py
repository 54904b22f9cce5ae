"""The client of the settlement service, asynchronous and plain."""

from terminal_sdk.client.bill import Bill, CardReading, PresentCard
from terminal_sdk.client.enrolment import Credentials
from terminal_sdk.client.retry import RetryPolicy
from terminal_sdk.client.sync import SyncTerminal
from terminal_sdk.client.terminal import Terminal
from terminal_sdk.client.transport import HttpTransport, NoAnswer, RawAnswer, Transport
from terminal_sdk.clock import Clock, SystemClock

__all__ = [
    "Bill",
    "CardReading",
    "Clock",
    "Credentials",
    "HttpTransport",
    "NoAnswer",
    "PresentCard",
    "RawAnswer",
    "RetryPolicy",
    "SyncTerminal",
    "SystemClock",
    "Terminal",
    "Transport",
]
