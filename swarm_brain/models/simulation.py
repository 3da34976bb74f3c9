"""Write deterministic replies without a model, labelled as simulated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from langchain_core.messages import BaseMessage

from swarm_brain.models.binding import JsonSchema

MARK = "[simulated]"


def reply_to(messages: Sequence[BaseMessage], schema: JsonSchema | None = None) -> str:
    """Return a simulated reply, which depends on the messages alone."""
    if schema is not None:
        return json.dumps(_instance(schema))
    text = "\n".join(message.text for message in messages)
    role = messages[0].text.splitlines()[0].lstrip("# ") if messages else "an expert"
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{MARK} No model wrote this. {role} would speak here ({digest})."


def _instance(schema: JsonSchema) -> object:
    """Return the smallest neutral value of a schema: gates fully open, no defects."""
    match schema.get("type"):
        case "object":
            properties = schema.get("properties")
            parts = properties if isinstance(properties, Mapping) else {}
            return {name: _instance(part) for name, part in parts.items()}
        case "array":
            return []
        case "number":
            return 1.0
        case _:
            return MARK
