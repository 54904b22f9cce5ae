"""The fault panel: which fault meets which message, and how often."""

import pytest

from settlement.stubs.bankhost.faults import FaultError, FaultPanel
from settlement.stubs.bankhost.wire import FaultSpec, Match

DEBIT = {"t": "0200", "3": "000000", "2": "6222021234567890123", "37": "000000000001"}


@pytest.mark.parametrize(
    ("match", "meets"),
    [
        (Match(), True),
        (Match(mti="0200"), True),
        (Match(mti="0400"), False),
        (Match(processing_code="200000"), False),
        (Match(pan="6222021234567890123"), True),
        (Match(pan="6222021234567890124"), False),
        (Match(mti="0200", reference="000000000002"), False),
    ],
)
def test_a_fault_meets_what_it_names(match: Match, *, meets: bool) -> None:
    panel = FaultPanel()
    panel.add(FaultSpec(action="close", match=match))
    assert (panel.take("ICBC", DEBIT) is not None) is meets


def test_network_messages_are_met_only_by_name() -> None:
    panel = FaultPanel()
    panel.add(FaultSpec(action="close", count=None))
    assert panel.take("ICBC", {"t": "0800", "70": "301"}) is None
    panel.add(FaultSpec(action="close", match=Match(mti="0800")))
    assert panel.take("ICBC", {"t": "0800", "70": "301"}) is not None


def test_a_fault_is_played_as_often_as_it_says_and_then_the_next_one() -> None:
    panel = FaultPanel()
    panel.add(FaultSpec(action="close", bank="ICBC", count=2))
    panel.add(FaultSpec(action="garbage", count=None))
    played = [fault.action for _ in range(4) if (fault := panel.take("ICBC", DEBIT))]
    assert played == ["close", "close", "garbage", "garbage"]
    assert [(fault.played, fault.remaining) for fault in panel.entries()] == [(2, 0), (2, None)]
    assert panel.clear("ICBC") == 1
    assert panel.clear() == 1
    assert panel.take("ICBC", DEBIT) is None


def test_chance_is_repeatable_with_a_seed() -> None:
    def draw(seed: int) -> list[bool]:
        panel = FaultPanel(seed)
        panel.add(FaultSpec(action="close", count=None, probability=0.5))
        return [panel.take("ICBC", DEBIT) is not None for _ in range(50)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert 5 < sum(draw(1)) < 45


@pytest.mark.parametrize("spec", [FaultSpec(action="answer_code"), FaultSpec(action="delay_ms")])
def test_a_fault_that_says_too_little_is_refused(spec: FaultSpec) -> None:
    with pytest.raises(FaultError):
        FaultPanel().add(spec)
