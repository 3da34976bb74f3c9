"""The real `swarm-brain serve` process, spoken to by OpenAI's own client and by worse ones."""
