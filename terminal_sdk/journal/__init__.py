"""The till's durable memory: each idempotency key and its whole request are on the disk before the first byte is sent.

One SQLite file. Requests and answers are enciphered (SM4-GCM) under a key derived from the terminal's private key; in
clear stand only keys, states, times and the service's own identifiers.
"""

from terminal_sdk.journal.entry import JournalEntry, Operation, Outcome, State
from terminal_sdk.journal.files import sync_folder
from terminal_sdk.journal.lock import ForwardLock
from terminal_sdk.journal.store import Journal

__all__ = ["ForwardLock", "Journal", "JournalEntry", "Operation", "Outcome", "State", "sync_folder"]
