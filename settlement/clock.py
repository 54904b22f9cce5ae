"""Time as a dependency: the service's clock, which a simulation can own; the terminal's has the same shape."""

from terminal_sdk.clock import Clock, SystemClock, epoch_ms

__all__ = ["Clock", "SystemClock", "epoch_ms"]
