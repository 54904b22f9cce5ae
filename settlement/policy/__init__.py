"""Who pays what: pure functions from a bill and balances to a split, in fen."""
