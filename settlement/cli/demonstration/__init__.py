"""The demonstration: a ward of virtual cards and terminals over the real service and separate bank hosts."""
