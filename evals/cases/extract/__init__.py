"""Read the final answer of a reply."""
