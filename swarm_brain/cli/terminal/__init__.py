"""Terminal output and input of commands."""
