"""The client of the settlement service, asynchronous and plain."""

from terminal_sdk.client.bill import Bill, CardReading, PresentCard
from terminal_sdk.client.enrolment import Credentials
from terminal_sdk.client.forwarding import Forwarder
from terminal_sdk.client.retry import ForwardPolicy, RetryPolicy
from terminal_sdk.client.sync import SyncForwarder, SyncTerminal
from terminal_sdk.client.terminal import Terminal
from terminal_sdk.client.transport import HttpTransport, NoAnswer, RawAnswer, Transport
from terminal_sdk.client.waiting import Waiting, error_in_words
from terminal_sdk.clock import Clock, SystemClock

__all__ = [
    "Bill",
    "CardReading",
    "Clock",
    "Credentials",
    "ForwardPolicy",
    "Forwarder",
    "HttpTransport",
    "NoAnswer",
    "PresentCard",
    "RawAnswer",
    "RetryPolicy",
    "SyncForwarder",
    "SyncTerminal",
    "SystemClock",
    "Terminal",
    "Transport",
    "Waiting",
    "error_in_words",
]
