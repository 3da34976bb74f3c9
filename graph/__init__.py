"""The brain as a graph: state, topology, propagation and workspace."""

if __name__ == "graph":  # a checkout's own folder
    from swarm_brain.checkout import alias

    alias(__name__)
