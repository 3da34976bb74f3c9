"""The brain as a graph: state, topology, propagation, workspace, and the graph built from them."""
