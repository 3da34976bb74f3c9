"""`simulation:` deterministic replies without any model. Every one says that it is simulated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from swarm_brain.models.binding import JsonSchema

MARK = "[simulated]"


def reply_to(messages: Sequence[BaseMessage], schema: JsonSchema | None = None) -> str:
    """The reply that stands where a model's would: a function of the messages alone."""
    if schema is not None:
        return json.dumps(_instance(schema))
    text = "\n".join(message.text for message in messages)
    role = messages[0].text.splitlines()[0].lstrip("# ") if messages else "an expert"
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{MARK} No model wrote this. {role} would speak here ({digest})."


def _instance(schema: JsonSchema) -> Any:
    """The smallest neutral value a schema allows: gates fully open, no defects."""
    match schema.get("type"):
        case "object":
            return {name: _instance(part) for name, part in schema.get("properties", {}).items()}
        case "array":
            return []
        case "number":
            return 1.0
        case _:
            return MARK
