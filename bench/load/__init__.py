"""The load: a process of its own that plays the clients, so that their CPU is theirs and is known."""
