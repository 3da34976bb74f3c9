"""Pictures of a topology, and of a run on it, drawn here without any service."""
