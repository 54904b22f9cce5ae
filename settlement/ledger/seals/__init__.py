"""Seals: signed Merkle roots over the append-only rows, chained, so that a change of the past is found and named."""
