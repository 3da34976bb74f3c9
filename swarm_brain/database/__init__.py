"""SQLite and Postgres alike: transactions, for memories and accounts."""
