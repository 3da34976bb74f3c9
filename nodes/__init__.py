"""What runs at a node: `begin`, one function for all experts, `finish`."""

if __name__ == "nodes":  # a checkout's own folder
    from swarm_brain.checkout import alias

    alias(__name__)
