"""Measurements: datasets, evaluators, arms, statistics, reports."""

if __name__ == "evals":  # a checkout's own folder
    from swarm_brain.checkout import alias

    alias(__name__)
