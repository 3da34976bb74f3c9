"""Cases: questions, their generators, and how replies to them are read and scored."""
