"""Spending: the ledger of a run, reservations, daily quotas, prices."""
