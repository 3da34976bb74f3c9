"""The Python interface of the replaced package: a thin facade over the graph."""

from __future__ import annotations

import threading
import uuid
import warnings
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypedDict

from langgraph.store.base import BaseStore

from swarm_brain.calls.background_loop import wait_for
from swarm_brain.config import key_for, use_keys
from swarm_brain.graph.brain import compile_brain
from swarm_brain.graph.context import Context, make_context
from swarm_brain.graph.events import Answered
from swarm_brain.graph.loading import load
from swarm_brain.graph.state import Result
from swarm_brain.memory.opening import in_process
from swarm_brain.runs.live import Start, events

LOCAL_MODEL = "Qwen/Qwen2.5-72B-Instruct"
SETTINGS = {  # of a brain, by the name that Context gives them where it is another
    "activation_threshold": "threshold",
    "max_propagation_depth": "max_steps",
    "global_workspace_capacity": "capacity",
}
LEGACY = (
    "timeout_seconds", "quantization", "gpu_count", "neurons_per_gpu", "total_neurons",
    "connection_strength_threshold", "broadcast_threshold", "consciousness_threshold",
    "phi_threshold", "integration_window", "hebbian_learning_rate", "connection_decay_rate",
    "short_term_capacity", "episodic_capacity", "parallel_execution",
)  # fmt: skip


@dataclass
class _Settings:
    model_name: str | None = None
    max_tokens: int | None = None
    temperature: float = 0.7
    top_p: float = 0.9
    timeout: float = 60.0
    activation_threshold: float = 0.5
    max_propagation_depth: int = 4
    global_workspace_capacity: int = 4
    max_revisions: int = 1
    effort: str = "auto"
    seed: int | None = None
    consolidation_interval: int | None = None


class BrainConfig(_Settings):
    """Settings of a brain, changeable between questions.

    `model_name` None means the default: Llama 3.1 405B over the API, Qwen 2.5 72B locally.
    `timeout` is in seconds. The old package's other settings have no effect: they are accepted with
    a DeprecationWarning.
    """

    def __init__(self, *values: object, **named: object) -> None:
        known = len(_Settings.__dataclass_fields__)
        legacy = dict(zip(LEGACY, values[known:], strict=False))
        legacy |= {name: named.pop(name) for name in LEGACY if name in named}
        super().__init__(*values[:known], **named)  # type: ignore[arg-type]  # checked when asked
        if ignored := [name for name, value in legacy.items() if value is not None]:
            message = f"these settings have no effect: {', '.join(ignored)}"
            warnings.warn(message, DeprecationWarning, stacklevel=2)

    def settings(self) -> dict[str, object]:
        """Return these settings under the names that Context gives them."""
        return {
            SETTINGS.get(name, name): value
            for name, value in vars(self).items()
            if name != "model_name"
        }


class NeuronStats(TypedDict):
    """An expert's requests (including failed ones), tokens and mean seconds."""

    neuron_id: str
    total_api_calls: int
    total_api_errors: int
    api_success_rate: float
    simulated_replies: int
    input_tokens: int
    output_tokens: int
    mean_latency_s: float


class Neuron:
    """One expert's statistics over all questions of a brain."""

    def __init__(self, neuron_id: str) -> None:
        self.neuron_id = neuron_id
        self._answers: list[Answered] = []
        self._lock = threading.Lock()

    def record(self, event: Answered) -> None:
        """Count one run of this expert."""
        with self._lock:
            self._answers.append({**event, "content": "", "gates": {}, "defects": []})

    def get_stats(self) -> NeuronStats:
        """Return its statistics; simulated replies are counted apart."""
        with self._lock:
            answers = list(self._answers)
        calls = sum(answer["attempts"] for answer in answers)
        errors = sum(answer["errors"] for answer in answers)
        asked = [answer["latency_s"] for answer in answers if answer["attempts"]]
        return {
            "neuron_id": self.neuron_id,
            "total_api_calls": calls,
            "total_api_errors": errors,
            "api_success_rate": (calls - errors) / calls if calls else 0.0,
            "simulated_replies": sum(answer["status"] == "simulated" for answer in answers),
            "input_tokens": sum(answer["input_tokens"] or 0 for answer in answers),
            "output_tokens": sum(answer["output_tokens"] or 0 for answer in answers),
            "mean_latency_s": sum(asked) / len(asked) if asked else 0.0,
        }


class Orchestrator:
    """The experts under the replaced package's name: `neurons`, by id."""

    def __init__(self, names: Iterable[str]) -> None:
        self.neurons = {name: Neuron(name) for name in names}


class PhiBrain:
    """A brain that answers questions: `brain.think("...")["final_output"]`.

    `model` is a `provider:model`. Without it, `use_api` asks Hyperbolic, `load_models` a local
    HuggingFace pipeline, and neither of them what `swarm-brain doctor` shows. `use_api` without a
    key answers in simulation and says so. An `api_key` stays in this process. Memories are saved in
    `store`; without one they live as long as the brain.
    """

    def __init__(
        self,
        config: BrainConfig | None = None,
        *,
        use_api: bool = False,
        api_key: str | None = None,
        load_models: bool = False,
        model: str | None = None,
        store: BaseStore | None = None,
    ) -> None:
        self.config = config or BrainConfig()
        self._keys = {"hyperbolic": api_key.strip()} if api_key and api_key.strip() else {}
        self._use_api, self._load_models, self._model = use_api, load_models, model
        topology = load()
        self._brain = compile_brain(topology, store=store or in_process())
        self.orchestrator = Orchestrator(topology.experts)

    def __repr__(self) -> str:
        return f"PhiBrain(model={self._spec()[0]!r})"

    def think(
        self,
        input_text: str,
        max_steps: int = 4,
        use_memory: bool = True,
        use_global_workspace: bool = True,
    ) -> Result:
        """Answer a question; blocks. Works inside a running event loop too (Jupyter).

        Returns the keys of `swarm-brain ask --json`. Raises BrainError for bad input or settings.
        """
        return wait_for(self.athink(input_text, max_steps, use_memory, use_global_workspace))

    async def athink(
        self,
        input_text: str,
        max_steps: int = 4,
        use_memory: bool = True,
        use_global_workspace: bool = True,
    ) -> Result:
        """`think` for async code."""
        with use_keys(self._keys):
            spec, problem = self._spec()
            context = make_context(
                {
                    **self.config.settings(),
                    "model": spec,
                    "max_steps": min(max_steps, self.config.max_propagation_depth),
                    "use_memory": use_memory,
                    "use_global_workspace": use_global_workspace,
                }
            )
            result = await self._run(input_text, context)
        if problem:
            result["error"] = "; ".join(filter(None, [problem, result["error"]]))
        return result

    async def _run(self, question: str, context: Context) -> Result:
        start = Start({"question": question}, {}, None, uuid.uuid4().hex)
        async with aclosing(events(self._brain, start, context)) as run:
            async for event in run:
                if event["event"] == "answered":
                    self.orchestrator.neurons[event["expert"]].record(event)
                elif event["event"] == "finished":
                    return event["result"]
        raise RuntimeError("a run that cannot pause has ended without a result")

    def _spec(self) -> tuple[str, str | None]:
        """Return the model to ask, and the problem if that is only the simulation."""
        name = self.config.model_name
        if self._model or (name and ":" in name):
            return self._model or name or "", None
        if self._load_models:
            return f"huggingface:{name or LOCAL_MODEL}", None
        hyperbolic = self._use_api or bool(self._keys)
        with use_keys(self._keys):
            if hyperbolic and not key_for("hyperbolic", "HYPERBOLIC_API_KEY"):
                return "simulation:", "no API key: pass api_key or set HYPERBOLIC_API_KEY"
            if hyperbolic or (name and key_for("hyperbolic", "HYPERBOLIC_API_KEY")):
                return f"hyperbolic:{name or ''}", None
        ignored = f"model_name {name!r} not used: give use_api, load_models or model"
        return "auto", ignored if name else None
