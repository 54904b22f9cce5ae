"""Makes the page of the kit's public names from the code (``python -m terminal_sdk.reference``)."""

from __future__ import annotations

import importlib
import inspect
import sys

PACKAGES = (
    ("terminal_sdk", "The client: enrol, quote, settle, follow, take back"),
    ("terminal_sdk.card", "Cards: read one, let it prove itself; virtual cards"),
    ("terminal_sdk.reader", "Readers: the port, the virtual one, a tracer"),
    ("terminal_sdk.reader.pcsc", "Real readers, at the PC/SC daemon (extra pcsc)"),
    ("terminal_sdk.receipt", "Receipts: printer bytes, and PDF (extra pdf)"),
    ("terminal_sdk.crypto", "SM2, SM3, SM4 and SM2 certificates"),
)
_HEAD = """\
# The terminal kit's public names

Made from the code by `python -m terminal_sdk.reference`; a test holds it equal. What is not listed here may change
without notice. The guides show them at work: [terminal makers](../guide/terminal-maker.md),
[the plain client](../guide/terminal-maker-sync.md), [real readers](../guide/readers.md),
[receipts](../guide/receipts.md).
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for name, title in PACKAGES:
        module = importlib.import_module(name)
        parts.append(f"\n## {title}: `{name}`\n\n| name | what it is |\n|---|---|\n")
        parts += [f"| `{each}` | {_meaning(module, each)} |\n" for each in sorted(_public(module), key=str.casefold)]
    return "".join(parts)


def _public(module: object) -> list[str]:
    listed: list[str] | None = getattr(module, "__all__", None)
    if listed is not None:
        return listed
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__  # type: ignore[attr-defined]
    ]


def _meaning(module: object, name: str) -> str:
    value = getattr(module, name)
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return f"a value or a type: see `{module.__name__}`"  # type: ignore[attr-defined]
    first = (inspect.getdoc(value) or "").split("\n\n", 1)[0]
    return " ".join(first.replace("``", "`").replace("|", "\\|").split())


if __name__ == "__main__":
    sys.stdout.write(page())
