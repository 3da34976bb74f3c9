"""The real `langgraph dev` process, spoken to by every client it has. One server for all."""
