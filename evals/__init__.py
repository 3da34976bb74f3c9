"""Evals: cases, arms, statistics and reports, and the commands that run them."""

if __name__ == "evals":  # a checkout's own folder
    from swarm_brain.checkout import alias

    alias(__name__)
