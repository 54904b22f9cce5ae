"""A machine becomes a till: what enrolment writes, for whose eyes, and how it is refused."""

from __future__ import annotations

import stat
from pathlib import Path

from tests.integration.till.conftest import LINE, Done, NewTill, TillProgram
from tests.support.service import PHARMACY


def enrol_arguments(till: TillProgram, *more: str | Path) -> tuple[str | Path, ...]:
    given = ("--service", till.service.base_url, "--terminal", till.terminal_id, "--profile", "pharmacy")
    return ("enrol", *given, "--code-stdin", *more)


async def enrol(till: TillProgram, *more: str | Path, code: str | None = None) -> Done:
    typed = till.environment.get("CODE", "") if code is None else code
    return await till.run(*enrol_arguments(till, *more), typed=f"{typed}\n")


async def test_the_folder_is_for_its_owner_alone(new_till: NewTill) -> None:
    till = await new_till(enrol=False)
    done = await enrol(till, "--json", "--printer", "/dev/null", "--reader", "auto")
    assert done.code == 0, done.err
    assert done.json | {"certificate_not_after": ""} == {
        "terminal_id": till.terminal_id,
        "institution_id": PHARMACY,
        "certificate_not_after": "",
        "profile": "pharmacy",
        "home": str(till.home),
    }
    assert stat.S_IMODE(till.home.stat().st_mode) == 0o700
    await till.run("journal", "list")
    assert {each.name for each in till.home.iterdir()} >= {"credentials.json", "till.toml", "journal.sqlite"}
    assert {stat.S_IMODE(each.stat().st_mode) for each in till.home.iterdir()} == {0o600}
    assert 'device = "/dev/null"' in (till.home / "till.toml").read_text(encoding="utf-8")
    assert till.environment["CODE"] not in "".join(each.read_text(errors="replace") for each in till.home.iterdir())


async def test_once_enrolled_only_the_settings_are_written_anew(new_till: NewTill) -> None:
    till = await new_till()
    before = (till.home / "credentials.json").read_bytes()
    done = await enrol(till, "--printer", "roll.bin", code="")
    assert done.code == 0, done.err
    assert (till.home / "credentials.json").read_bytes() == before
    assert 'device = "roll.bin"' in (till.home / "till.toml").read_text(encoding="utf-8")


async def test_refused_and_then_enrolled_with_the_right_code(new_till: NewTill) -> None:
    till = await new_till(enrol=False)
    refused = await enrol(till, "--json", code="AAAAA-BBBBB-CCCCC-DDDDD")
    assert (refused.code, refused.json["error"]["exit_code"]) == (22, 22)
    assert not (till.home / "till.toml").exists()
    assert (await till.run("journal", "list")).code == 32
    assert (await enrol(till)).code == 0


async def test_another_terminals_folder_is_left_alone(new_till: NewTill) -> None:
    till, other = await new_till(), await new_till(enrol=False)
    other.home = till.home
    done = await enrol(other)
    assert done.code == 32
    assert f"belongs to terminal {till.terminal_id}" in done.err


async def test_nobody_there(new_till: NewTill) -> None:
    till = await new_till(enrol=False)
    arguments = [*enrol_arguments(till), "--service", "http://127.0.0.1:9"]
    done = await till.run(*arguments, typed="AAAAA-BBBBB-CCCCC-DDDDD\n")
    assert done.code == 20
    assert "no usable answer from the service" in done.err


async def test_the_code_at_a_hidden_prompt(new_till: NewTill) -> None:
    till = await new_till(enrol=False)
    desk = till.at_keyboard(*(each for each in enrol_arguments(till) if each != "--code-stdin"))
    await desk.until("注册码")
    desk.type(till.environment["CODE"] + "\n")
    assert await desk.end() == 0
    assert till.environment["CODE"] not in desk.seen


async def test_what_others_may_look_at_is_not_used(new_till: NewTill) -> None:
    till = await new_till()
    for path, mode in ((till.home / "credentials.json", 0o640), (till.home, 0o755)):
        before = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode)
        done = await till.settle("ORDER-1")
        assert done.code == 32
        assert f"chmod {before:o} {path}" in done.err
        path.chmod(before)
    assert till.attempts() == []


async def test_settings_that_cannot_be_right_name_their_place(new_till: NewTill) -> None:
    till = await new_till()
    settings = till.home / "till.toml"
    good = settings.read_text(encoding="utf-8")
    for bad, told in (
        (good + "\n[colour]\n", "colour"),
        (good.replace("pharmacy", "kiosk"), "profile"),
        (good.replace("base_url", "#"), "base_url"),
        ("{", "till.toml"),
        (good + '\n[defaults]\non_bank_decline = "never"\n', "on_bank_decline"),
    ):
        settings.write_text(bad, encoding="utf-8")
        done = await till.run("quote", "--visit", "V", "--line", LINE, "--card", till.card_file)
        assert done.code == 32, done.err
        assert told in done.err
