"""The graph's nodes: `begin`, one function for all experts, and `finish`."""

if __name__ == "nodes":  # a checkout's own folder
    from swarm_brain.checkout import alias

    alias(__name__)
