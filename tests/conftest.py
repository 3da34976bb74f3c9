"""What all tests share. Strict msgpack must be set before LangGraph is imported."""

import os

os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
# Tests marked `langsmith` report there only if LANGSMITH_TEST_TRACKING=true is set with a key.
if os.environ.get("LANGSMITH_TEST_TRACKING") != "true" or not os.environ.get("LANGSMITH_API_KEY"):
    os.environ["LANGSMITH_TEST_TRACKING"] = "false"
    os.environ.pop("LANGSMITH_API_KEY", None)
for name in ("HYPERBOLIC_API_KEY", "SWARM_BRAIN_MODEL", "LANGSMITH_TRACING"):
    os.environ.pop(name, None)
