"""Accounts, holds, postings and the state of legs: the typed face of the ledger's SQL functions."""
