"""The Python interface of the package that this one replaces: a thin facade over the graph."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

from langgraph.store.base import BaseStore

from swarm_brain.calls.background_loop import wait_for
from swarm_brain.config import key_for, use_keys
from swarm_brain.graph.brain import Brain, compile_brain, graph
from swarm_brain.graph.context import Context, make_context
from swarm_brain.graph.signal import Signal
from swarm_brain.graph.state import RESULT_KEYS, Result
from swarm_brain.memory.opening import in_process

log = logging.getLogger(__name__)

LOCAL_MODEL = "Qwen/Qwen2.5-72B-Instruct"


@dataclass
class BrainConfig:
    """Settings of a brain, changeable between questions.

    `model_name` None means the default of the way chosen: Llama 3.1 405B over the API, Qwen 2.5 72B
    locally. `timeout` is in seconds. Settings below the line existed in the old package; they are
    accepted and have no effect.
    """

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
    # ---- accepted, without effect
    timeout_seconds: float | None = None
    quantization: str | None = None
    gpu_count: int | None = None
    neurons_per_gpu: int | None = None
    total_neurons: int | None = None
    connection_strength_threshold: float | None = None
    broadcast_threshold: float | None = None
    consciousness_threshold: float | None = None
    phi_threshold: float | None = None
    integration_window: float | None = None
    hebbian_learning_rate: float | None = None
    connection_decay_rate: float | None = None
    short_term_capacity: int | None = None
    episodic_capacity: int | None = None
    parallel_execution: bool | None = None

    def settings(self) -> dict[str, Any]:
        """These settings under the names that Context gives them."""
        return {
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "timeout": self.timeout,
            "threshold": self.activation_threshold,
            "max_steps": self.max_propagation_depth,
            "capacity": self.global_workspace_capacity,
            "max_revisions": self.max_revisions,
            "effort": self.effort,
            "seed": self.seed,
            "consolidation_interval": self.consolidation_interval,
        }

    def __post_init__(self) -> None:
        names = [field.name for field in fields(self)]
        old = names[names.index("timeout_seconds") :]
        if given := [name for name in old if getattr(self, name) is not None]:
            warnings.warn(f"without effect: {', '.join(given)}", DeprecationWarning, stacklevel=3)


class Neuron:
    """One expert's statistics over all questions of a brain."""

    def __init__(self, neuron_id: str) -> None:
        self.neuron_id = neuron_id
        self._signals: list[Signal] = []
        self._lock = threading.Lock()

    def record(self, signal: Signal) -> None:
        """Count one run of this expert."""
        with self._lock:
            self._signals.append({**signal, "content": "", "gates": {}, "defects": []})

    def get_stats(self) -> dict[str, Any]:
        """Attempts on the wire, failed ones, tokens, mean seconds; simulated replies apart."""
        with self._lock:
            signals = list(self._signals)
        calls = sum(signal["attempts"] for signal in signals)
        errors = sum(signal["errors"] for signal in signals)
        asked = [signal["latency_s"] for signal in signals if signal["attempts"]]
        return {
            "neuron_id": self.neuron_id,
            "total_api_calls": calls,
            "total_api_errors": errors,
            "api_success_rate": (calls - errors) / calls if calls else 0.0,
            "simulated_replies": sum(signal["status"] == "simulated" for signal in signals),
            "input_tokens": sum(signal["input_tokens"] or 0 for signal in signals),
            "output_tokens": sum(signal["output_tokens"] or 0 for signal in signals),
            "mean_latency_s": sum(asked) / len(asked) if asked else 0.0,
        }


class Orchestrator:
    """Holds the experts under the old package's name: `neurons`, by id."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.neurons = {name: Neuron(name) for name in names}


class PhiBrain:
    """A brain that answers questions: `brain.think("...")["final_output"]`.

    `model` is a `provider:model`; `use_api` takes Hyperbolic, `load_models` the local HuggingFace
    pipeline, neither takes what `swarm-brain doctor` shows. `use_api` without a key answers in
    simulation and says so. An `api_key` stays in this process. Memories are kept in `store`;
    without one as long as the brain lives, and nowhere else.
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
        self._brain: Brain = compile_brain(store=store or in_process())
        names = [name for name in graph.nodes if not name.startswith("__")]
        self.orchestrator = Orchestrator(dict.fromkeys(n for n in names if n not in _FRAME))

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
        result: dict[str, Any] = {}
        modes: Any = ["updates", "values"]
        part: Any
        async for mode, part in self._brain.astream(
            {"question": question}, context=context, stream_mode=modes
        ):
            if mode == "values":
                result = dict(part)
                continue
            for update in part.values():
                for signal in (update or {}).get("signals") or []:
                    self.orchestrator.neurons[signal["source"]].record(signal)
        return cast(Result, {key: result[key] for key in RESULT_KEYS})

    def _spec(self) -> tuple[str, str | None]:
        """The model to ask, and what is wrong if that is only the simulation."""
        named = self.config.model_name
        if self._model or (named and ":" in named):
            return self._model or named or "", None
        if self._load_models:
            return f"huggingface:{named or LOCAL_MODEL}", None
        hyperbolic = self._use_api or bool(self._keys)
        with use_keys(self._keys):
            if hyperbolic and not key_for("hyperbolic", "HYPERBOLIC_API_KEY"):
                return "simulation:", "no API key: pass api_key or set HYPERBOLIC_API_KEY"
            if hyperbolic or (named and key_for("hyperbolic", "HYPERBOLIC_API_KEY")):
                return f"hyperbolic:{named or ''}", None
        ignored = f"model_name {named!r} not used: say use_api, load_models or model"
        return "auto", ignored if named else None


_FRAME = frozenset({"begin", "finish"})
