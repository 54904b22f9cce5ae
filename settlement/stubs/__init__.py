"""Partners of the service played by separate processes with their own state; the service imports none of this."""
