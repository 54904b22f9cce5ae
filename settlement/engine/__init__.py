"""The saga: settle, reverse and recover, over the ledger and the banks."""
