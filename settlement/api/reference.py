"""The generated parts of docs/reference/terminal-api.md: operations, the worked MAC example, the table of errors.

``python -m settlement.api.reference docs/reference/terminal-api.md`` writes them anew between their markers.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from settlement.api.examples import ANSWERS, REQUESTS
from settlement.api.operations import OPERATIONS, Operation
from settlement.errors import CATALOGUE
from terminal_sdk import wire
from terminal_sdk.crypto import sm3
from terminal_sdk.signing import request_mac, response_mac

_PART = re.compile(r"(<!-- generated: (?P<name>[a-z]+) -->\n).*?(<!-- end of generated part -->)", re.DOTALL)
_KEY = bytes(range(32))
_TIME_MS = 1546392615000
_NONCE = "6f1d0c2b9a8e4f73"


class UnknownPart(Exception):
    """A page names a generated part that does not exist."""


def renewed(page: str) -> str:
    """The page with its generated parts as they should be. Raises ``UnknownPart``."""
    parts = {"operations": operations, "mac": mac_example, "errors": error_table}

    def part(match: re.Match[str]) -> str:
        if match["name"] not in parts:
            raise UnknownPart(match["name"])
        return f"{match[1]}\n{parts[match['name']]()}\n{match[3]}"

    return _PART.sub(part, page)


def error_table() -> str:
    """Every code with its status, its message and where it comes from."""
    rows = ["| Code | Status | What to do | Where |", "|---|---|---|---|"]
    for code, (status, message) in CATALOGUE.items():
        places = [operation.name for operation in OPERATIONS if code in operation.all_errors]
        rows.append(f"| `{code}` | {status} | {message} | {_where(places)} |")
    return "\n".join(rows) + "\n"


def _where(places: list[str]) -> str:
    groups = {
        "all": [operation.name for operation in OPERATIONS],
        "all that are signed": [operation.name for operation in OPERATIONS if operation.authenticated],
        "all with a body": [operation.name for operation in OPERATIONS if operation.request],
        "all that move money": [operation.name for operation in OPERATIONS if operation.changes],
    }
    signed, enrolling = groups["all that are signed"], [place for place in places if place in {"enrol", "signIn"}]
    if enrolling and places == [*enrolling, *signed]:
        return f"{', '.join(enrolling)}, all that are signed"
    return next((name for name, group in groups.items() if places == group), ", ".join(places) or "–")


def operations() -> str:
    """Every operation with an example of its request and its answer."""
    return "\n".join(line for operation in OPERATIONS for line in _operation(operation))


def mac_example() -> str:
    """A request and its answer, signed step by step with a key that anybody may use to check an implementation."""
    body = wire.encode(wire.ReversalRequest(idempotency_key="TILL0001-000043", reason="wrong patient"))
    path = "/v1/settlements/01681000-8c1a-7d3e-9b7a-3f5e2c9d1a40/reversal"
    answer = b'{"error":{"code":"SETTLEMENT_UNKNOWN","message":"..."}}'
    lines = [
        "```",
        f"MAC key        {_KEY.hex()}",
        f"body           {body.decode()}",
        f"SM3(body)      {sm3(body).hex()}",
        "signed text    POST",
        f"               {path}",
        f"               {_TIME_MS}",
        f"               {_NONCE}",
        f"               {sm3(body).hex()}",
        f"X-Mac          {request_mac(_KEY, 'POST', path, _TIME_MS, _NONCE, body)}",
        "",
        f"answer         404 {answer.decode()}",
        f"SM3(body)      {sm3(answer).hex()}",
        "signed text    404",
        f"               {_NONCE}",
        f"               {sm3(answer).hex()}",
        f"X-Mac          {response_mac(_KEY, 404, _NONCE, answer)}",
        "```",
    ]
    return "\n".join(lines) + "\n"


def _operation(operation: Operation) -> Iterator[str]:
    yield f"### {operation.summary}\n"
    yield f"`{operation.method} {operation.path}`\n"
    yield f"{operation.description}\n"
    for parameter in operation.parameters:
        yield f"- `{parameter.name}` (in the {parameter.place}): {parameter.meaning}"
    if operation.parameters:
        yield ""
    if operation.request is not None:
        yield f"Request (`{operation.request.__name__}`):\n"
        yield _json(REQUESTS[operation.name])
    statuses = "200, or 202 while not final" if operation.pending else "200"
    yield f"Answer (`{operation.answer.__name__}`, {statuses}):\n"
    yield _json(ANSWERS[operation.name])
    own = ", ".join(f"`{code}`" for code in operation.errors)
    yield f"Refusals of its own: {own or 'none'}.\n"


def _json(message: msgspec.Struct) -> str:
    return f"```json\n{msgspec.json.format(wire.encode(message), indent=2).decode()}\n```\n"


def main(arguments: list[str]) -> None:
    """Renew the pages given."""
    for name in arguments:
        path = Path(name)
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
