"""The two clients stay in step: the same calls with the same arguments, and nothing awaited in one of them."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable

import pytest

from terminal_sdk import SyncTerminal, Terminal

DUNDERS = {"__aenter__": "__enter__", "__aexit__": "__exit__"}


def public(client: type) -> set[str]:
    return {name for name in vars(client) if not name.startswith("_")} | {"__init__"}


def function(client: type, name: str) -> Callable[..., object]:
    found = inspect.getattr_static(client, name)
    return typing.cast("Callable[..., object]", found.__func__ if isinstance(found, classmethod) else found)


def test_they_have_the_same_calls() -> None:
    assert public(SyncTerminal) == public(Terminal)
    assert {"resume", "refund", "waiting", "mark_handed_out", "forwarder"} < public(SyncTerminal)
    assert {"enrol", "quote", "settle", "wait", "status", "reverse", "receipt", "recover"} < public(SyncTerminal)


@pytest.mark.parametrize("name", sorted(public(Terminal)))
def test_each_call_takes_and_gives_the_same(name: str) -> None:
    plain, awaited = function(SyncTerminal, name), function(Terminal, name)
    if name == "forwarder":
        assert inspect.signature(plain).parameters == inspect.signature(awaited).parameters
    else:
        assert inspect.signature(plain) == inspect.signature(awaited)
    assert [inspect.signature(each) for each in typing.get_overloads(plain)] == [
        inspect.signature(each) for each in typing.get_overloads(awaited)
    ]
    assert not inspect.iscoroutinefunction(plain)
    assert inspect.iscoroutinefunction(awaited) == (name not in {"__init__", "new_key", "forwarder"})
    assert isinstance(inspect.getattr_static(SyncTerminal, name), classmethod) == (name == "enrol")


@pytest.mark.parametrize(("awaited", "plain"), DUNDERS.items())
def test_both_are_context_managers(awaited: str, plain: str) -> None:
    assert inspect.signature(function(SyncTerminal, plain)) == inspect.signature(function(Terminal, awaited))
