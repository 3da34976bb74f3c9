"""What all tests share. Strict msgpack must be set before LangGraph is imported."""

import os

os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
# Tests marked `langsmith` (tests/evals) report there only if LANGSMITH_TEST_TRACKING=true,
# LANGSMITH_TRACING=true and a key are set.
if os.environ.get("LANGSMITH_TEST_TRACKING") != "true" or not os.environ.get("LANGSMITH_API_KEY"):
    os.environ["LANGSMITH_TEST_TRACKING"] = "false"
    os.environ.pop("LANGSMITH_API_KEY", None)
    os.environ.pop("LANGSMITH_TRACING", None)
for name in ("HYPERBOLIC_API_KEY", "SWARM_BRAIN_MODEL"):
    os.environ.pop(name, None)
