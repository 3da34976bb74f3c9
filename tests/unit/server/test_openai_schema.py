"""What a chat request may choose beyond OpenAI's parameters."""

from __future__ import annotations

from swarm_brain.graph.context import Context
from swarm_brain.server.openai_schema import EXCLUDED, Settings


def test_every_setting_is_a_request_field_or_excluded_by_name():
    assert set(Settings.model_fields) | EXCLUDED == set(Context.model_fields)
    assert not set(Settings.model_fields) & EXCLUDED


def test_what_spends_or_sends_away_the_owners_money_and_keys_is_excluded():
    assert {"model", "base_url", "expert_models", "cache", "consolidation_tokens"} <= EXCLUDED
