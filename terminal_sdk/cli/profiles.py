"""What kind of counter a till stands at, and what follows from it unless an option says otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from terminal_sdk.wire import OnBankDecline, Remainder, VisitType

ProfileName = Literal["pharmacy", "hospital"]
Agreement = Literal["ceiling", "quote"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Defaults of a counter.

    ``agreement``: ``ceiling`` is one call, the patient agreeing that the bank pays at most the bill; ``quote`` asks
    first who would pay what. ``header`` and ``footer`` stand above and below the service's receipt, centred.
    """

    name: ProfileName
    visit_type: VisitType
    agreement: Agreement
    on_bank_decline: OnBankDecline
    remainder: Remainder
    header: str
    footer: str


PROFILES: dict[ProfileName, Profile] = {
    "pharmacy": Profile(
        name="pharmacy",
        visit_type="pharmacy",
        agreement="ceiling",
        on_bank_decline="cash",
        remainder="bank",
        header="定点零售药店 顾客联",
        footer="请当面核对药品和金额",
    ),
    "hospital": Profile(
        name="hospital",
        visit_type="outpatient",
        agreement="quote",
        on_bank_decline="release",
        remainder="bank",
        header="门诊收费 患者联",
        footer="请凭本单取药或检查,妥善保管",
    ),
}
