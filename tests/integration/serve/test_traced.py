"""The id in a reply's header is that of the run's trace."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.fakes import endpoint
from tests.integration.langsmith import langsmith
from tests.integration.processes import until
from tests.integration.serve.process import serve
from tests.integration.serve.test_openai_client import SIMPLE, said

pytestmark = pytest.mark.slow


def test_a_reply_leads_to_its_trace(tmp_path: Path):
    with endpoint() as model, langsmith() as recorded:
        traced = {
            "LANGSMITH_TRACING": "true",
            "LANGSMITH_API_KEY": "lsv2-test",
            "LANGSMITH_ENDPOINT": recorded.url,
            "LANGSMITH_HIDE_INPUTS": "true",
            "LANGSMITH_HIDE_OUTPUTS": "true",
        }
        with serve(tmp_path, model_url=model.url, **traced) as served:
            reply = httpx.post(
                f"{served.url}/v1/chat/completions",
                json={"model": "swarm-brain-fast", "messages": said(SIMPLE)},
                timeout=30,
            )
            run = reply.headers["x-swarm-run"]
            until(lambda: run in recorded.runs, 20, served.child)
        root = recorded.runs[run]
        assert root["name"] == "brain"
        assert root.get("parent_run_id") is None
        assert {"perception", "reasoning", "synthesis"} <= {
            child["name"] for child in recorded.children(root)
        }
        assert not any(SIMPLE.encode() in body for body in recorded.raw)
