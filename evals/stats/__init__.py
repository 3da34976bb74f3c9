"""Statistics of paired comparisons."""
