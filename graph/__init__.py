"""The brain as a graph: state, topology, propagation, workspace, and the graph built from them."""

if __name__ == "graph":  # a checkout's own folder
    from swarm_brain.checkout import alias

    alias(__name__)
