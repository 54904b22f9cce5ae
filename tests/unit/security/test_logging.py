"""Nothing personal gets through the logs, by key or by look, from structlog or from the standard library."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from settlement.logging import configure_logging

ID_NUMBER = "11010119900307758X"
PAN = "6222020200112233445"


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    stream = io.StringIO()
    configure_logging("json", "info", stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:], _ = before[0], root.setLevel(before[1])


def lines(output: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_json_lines_with_level_time_and_logger(output: io.StringIO) -> None:
    structlog.get_logger("settlement.engine").info("settled", total_fen=12_300, ok=True, none=None)
    structlog.get_logger("settlement.engine").debug("not shown")
    (line,) = lines(output)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "settled",
        "level": "info",
        "logger": "settlement.engine",
        "total_fen": 12_300,
        "ok": True,
        "none": None,
    }


def test_personal_keys_are_masked_at_any_depth(output: io.StringIO) -> None:
    structlog.get_logger("x").info(
        "read", name="张三丰", body={"people": [{"id_number": ID_NUMBER, "pan": PAN}]}, pin="123456", master_key="k"
    )
    (line,) = lines(output)
    assert line["name"] == "张**"
    assert line["body"] == {"people": [{"id_number": "**************758X", "pan": "***************3445"}]}
    assert (line["pin"], line["master_key"]) == ("***", "***")


@pytest.mark.parametrize("number", [ID_NUMBER, PAN])
def test_numbers_are_masked_wherever_they_stand(output: io.StringIO, number: str) -> None:
    log = structlog.get_logger("x")
    log.info(f"event {number}", value=number, items=[number], text=f"of {number}.", deep={"a": {"b": (number,)}})
    try:
        {}[number]
    except KeyError:
        log.exception("failed")
        logging.getLogger("aiohttp").exception("of the library")
    logging.getLogger("aiohttp.access").warning("GET /%s", number)
    assert len(lines(output)) == 4
    assert number not in output.getvalue()
    assert "Traceback" in lines(output)[1]["exception"]


def test_a_number_kept_as_a_number_is_masked_too(output: io.StringIO) -> None:
    structlog.get_logger("x").info("odd", value=int(PAN), time_ms=1_763_939_999_999)
    (line,) = lines(output)
    assert (line["value"], line["time_ms"]) == ("***************3445", 1_763_939_999_999)


def test_what_nests_too_deep_is_cut(output: io.StringIO) -> None:
    nested: list[Any] = []
    nested.append(nested)
    structlog.get_logger("x").info("loop", value=nested)
    assert "…" in output.getvalue()


def test_the_console_form_masks_as_well() -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    try:
        configure_logging("console", "info", stream)
        structlog.get_logger("x").info("read", name="张三丰")
    finally:
        structlog.reset_defaults()
        root.handlers[:] = handlers
        root.setLevel(level)
    assert "张**" in stream.getvalue()
    assert "三" not in stream.getvalue()
