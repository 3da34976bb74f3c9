"""Many questions from a file: asked side by side, kept as they come, told in the file's order."""
