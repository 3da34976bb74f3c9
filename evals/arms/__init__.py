"""Arms: ways of answering one question with so many tokens."""
