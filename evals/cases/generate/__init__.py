"""Questions with computed keys."""
