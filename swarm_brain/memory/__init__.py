"""Long-term memory in LangGraph's store: recall, consolidation, maintenance."""
