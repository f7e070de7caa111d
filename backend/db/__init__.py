"""Postgres: tables, migrations, transactions, the outbox, and the queries that have one home."""
