"""The settlement service: one card read settles a whole medical bill, insurance first, the bank for the rest."""

__version__ = "0.1.0"
