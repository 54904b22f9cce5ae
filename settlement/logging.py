"""Structured logs: JSON lines for machines or a console for people; names and numbers of people never get through."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog

from settlement.security.masks import mask_name, mask_number, mask_text

NAME_KEYS = frozenset({"name", "patient", "person_name", "psn_name"})
NUMBER_KEYS = frozenset(
    {"card_number", "certno", "id_number", "pan", "phone", "psn_cert_no", "psn_no", "social_security_number"}
)
SECRET_KEYS = frozenset(
    {"authorization", "database_url", "dsn", "key", "mac_key", "master_key", "password", "pin", "pin_block", "pin_key"}
    | {"private_key", "sealed_keys", "secret", "token"}
)
"""Keys whose values are masked, in events and in mappings inside them; a secret is not shown at all."""

_NESTING_MAX = 6


def configure_logging(log_format: str = "auto", level: str = "info", stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging alike. ``log_format``: ``auto``, ``console`` or ``json``.

    ``stream``: None means standard error, so that a command's own output stays clean. May be called again.
    """
    target = stream if stream is not None else sys.stderr
    console = log_format == "console" or (log_format == "auto" and target.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    # the traceback becomes text before masking: an exception's message may quote a value
    last: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        mask_personal,
        structlog.dev.ConsoleRenderer(colors=target.isatty())
        if console
        else structlog.processors.JSONRenderer(ensure_ascii=False),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def mask_personal(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The structlog processor that masks by key, and by the look of a number in every text."""
    return {key: _masked(key, value, 0) for key, value in event.items()}


def _masked(key: str, value: Any, depth: int) -> Any:
    """A value as it may be logged under this key."""
    folded = key.casefold()
    if value is None or isinstance(value, bool):
        return value
    if folded in SECRET_KEYS:
        return "***"
    if folded in NAME_KEYS:
        return mask_name(str(value))
    if folded in NUMBER_KEYS:
        return mask_number(str(value))
    return _masked_inside(value, depth)


def _masked_inside(value: Any, depth: int) -> Any:
    """Containers are copied, never changed in place; numbers stay numbers unless they look like somebody's."""
    if isinstance(value, Mapping):
        if depth >= _NESTING_MAX:
            return "…"
        return {str(key): _masked(str(key), item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked("", item, depth + 1) for item in value] if depth < _NESTING_MAX else "…"
    masked = mask_text(str(value))
    return value if isinstance(value, int | float) and masked == str(value) else masked
