"""What runs at a node: `begin`, one function for all experts, `finish`."""
