"""The HTTP face of the service for terminals: version 1, its description, health and metrics."""

from settlement.api.app import create_app, create_runner
from settlement.api.limits import Limits

__all__ = ["Limits", "create_app", "create_runner"]
