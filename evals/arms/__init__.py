"""Arms: ways to answer a question within a number of tokens."""
