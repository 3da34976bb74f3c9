"""Memory: embeddings, and in time recall and consolidation over LangGraph's store."""
