"""The providers that are shipped, by name."""

from __future__ import annotations

from collections.abc import Mapping

# What each provider of ours is, for help texts; any other name goes to LangChain.
PROVIDERS: Mapping[str, str] = {
    "hyperbolic": "Hyperbolic's endpoint; needs HYPERBOLIC_API_KEY",
    "openai-compatible": "any OpenAI-compatible endpoint; needs --base-url",
    "embedded": "llama.cpp in this process: smollm2-135m or a path to a .gguf file",
    "huggingface": "local transformers pipeline: hub id, folder or .gguf file",
    "scripted": "replies from a YAML or JSON file, for tests: scripted:replies.yaml",
    "simulation": "no model at all; every reply says so",
}
