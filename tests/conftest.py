"""What all tests share. Strict msgpack must be set before LangGraph is imported."""

import os

os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
for name in ("HYPERBOLIC_API_KEY", "SWARM_BRAIN_MODEL", "LANGSMITH_API_KEY", "LANGSMITH_TRACING"):
    os.environ.pop(name, None)
