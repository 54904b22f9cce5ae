"""What a terminal maker installs: cards, readers, national cryptography and the client of the settlement service."""
