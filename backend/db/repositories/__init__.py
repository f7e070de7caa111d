"""Queries with one home: the life cycle's conditional save, the ledger, the leader's term."""
