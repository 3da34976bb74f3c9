"""Arms: ways to answer one question with a number of tokens."""
