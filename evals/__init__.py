"""Measurements: datasets, evaluators, arms, statistics, reports."""
