"""The bench: settlements, and what limits them, measured side by side in one run on one machine (`python -m bench`)."""
