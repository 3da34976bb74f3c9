"""Draw topologies, and runs on them, without any service."""
