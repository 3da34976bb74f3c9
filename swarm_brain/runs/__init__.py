"""Run the brain and report its events, live or saved."""
