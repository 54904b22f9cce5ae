"""The description hangs together: references resolve, examples are valid messages, codes are of the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from settlement.api.docs_page import docs_page
from settlement.api.examples import ANSWERS, REQUESTS
from settlement.api.openapi import openapi
from settlement.api.operations import OPERATIONS, Operation
from settlement.errors import CATALOGUE
from terminal_sdk import wire

DESCRIPTION = openapi("1.2.3")


def inside(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from inside(item)
    elif isinstance(value, list):
        for item in value:
            yield from inside(item)


def test_every_reference_leads_somewhere() -> None:
    references = [part["$ref"] for part in inside(DESCRIPTION) if isinstance(part.get("$ref"), str)]
    assert len(references) > 50
    for reference in references:
        found: Any = DESCRIPTION
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]


def test_it_is_json_and_the_same_each_time() -> None:
    assert msgspec.json.encode(DESCRIPTION) == msgspec.json.encode(openapi("1.2.3"))


def test_amounts_are_bounded_whole_numbers() -> None:
    amount = DESCRIPTION["components"]["schemas"]["FeeLine"]["properties"]["amount_fen"]
    assert (amount["type"], amount["minimum"], amount["maximum"]) == ("integer", 0, wire.MAX_FEN)


def test_requests_take_no_unknown_fields() -> None:
    schemas = DESCRIPTION["components"]["schemas"]
    for operation in OPERATIONS:
        if operation.request is not None:
            assert schemas[operation.request.__name__]["additionalProperties"] is False


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_examples_are_valid_messages(operation: Operation) -> None:
    pairs = [(operation.answer, ANSWERS[operation.name])]
    if operation.request is not None:
        pairs.append((operation.request, REQUESTS[operation.name]))
    for kind, example in pairs:
        assert type(example) is kind
        assert msgspec.json.decode(wire.encode(example), type=kind) == example


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_code_of_an_operation_is_in_the_catalogue_and_described(operation: Operation) -> None:
    assert len(set(operation.all_errors)) == len(operation.all_errors)
    responses = DESCRIPTION["paths"][operation.path][operation.method.lower()]["responses"]
    for code in operation.all_errors:
        status = str(CATALOGUE[code][0])
        assert f"`{code}`" in responses[status]["description"]
    assert ("202" in responses) == operation.pending


def test_names_are_unique() -> None:
    names = [part["operationId"] for part in inside(DESCRIPTION) if "operationId" in part]
    assert len(set(names)) == len(names)


def test_the_page_escapes_what_it_shows() -> None:
    description = openapi("<b>&")
    page = docs_page(description)
    assert "<b>&" not in page
    assert "&lt;b&gt;&amp;" in page
    assert page.count("<details") == page.count("</details>")
    assert page.count("<table>") == page.count("</table>")
