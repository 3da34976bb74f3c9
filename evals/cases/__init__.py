"""Cases: questions, their generators, and how replies are read and scored."""
