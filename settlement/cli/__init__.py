"""The ``settlement`` command."""
