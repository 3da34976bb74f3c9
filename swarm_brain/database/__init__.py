"""Transactions in SQLite and Postgres, for memories and accounts."""
