"""`huggingface:` a local transformers pipeline: hub id, folder, or one .gguf file.

Loaded once per process and shared by all experts; the calls of one wave run as one batch (see
huggingface_batch.py and huggingface_generate.py).
"""

from __future__ import annotations

import atexit
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from swarm_brain.graph.errors import ConfigError, ModelUnavailable
from swarm_brain.models import embedded_weights
from swarm_brain.models.binding import Binding, JsonSchema, Sampling, no_schema
from swarm_brain.models.huggingface import weights as pretrained
from swarm_brain.models.huggingface.engine import BatchChat, Engine

Quantization = Literal["none", "8bit", "4bit"]
Dtype = Literal["float32", "float16", "bfloat16"]

SMALL_PARAMETERS = 1_000_000_000  # below, long replies only repeat themselves
SMALL_MAX_TOKENS, MAX_TOKENS = 256, 1024
INSTALL = "Install the extra: pip install 'swarm-brain[huggingface]'"


@dataclass(frozen=True)
class Wanted:
    """A model and how its weights are to be held. Equal ones share one loaded model."""

    model: str
    quantization: Quantization = "none"
    device_map: str | None = None
    dtype: Dtype | None = None


@dataclass(frozen=True)
class Loaded:
    """A model in memory, and the chat model that all its bindings share."""

    engine: Engine
    chat: BatchChat
    parameters: int


_loaded: dict[Wanted, Loaded] = {}
_loading = threading.Lock()


def bind(
    model: str,
    *,
    quantization: Quantization = "none",
    device_map: str | None = None,
    dtype: Dtype | None = None,
) -> Binding:
    """Bind `huggingface:model`; loads the weights on first use, once per process.

    `quantization` 8bit or 4bit needs a GPU and bitsandbytes. `device_map` is accelerate's: None
    takes the GPU where there is one. `dtype` None takes what the weights are stored in, but on a
    processor what it computes fastest: bfloat16 where it can, else float32.

    Raises ConfigError for a setting that means nothing, ModelUnavailable naming the package, the
    weights or the hardware that is missing.
    """
    if not model:
        raise ConfigError("huggingface: names no model. Write huggingface:HUB_ID_OR_PATH.")
    if quantization not in ("none", "8bit", "4bit"):
        raise ConfigError(f"quantization is none, 8bit or 4bit, not {quantization!r}.")
    if dtype not in (None, "float32", "float16", "bfloat16"):
        raise ConfigError(f"dtype is float32, float16 or bfloat16, not {dtype!r}.")
    spec = f"huggingface:{model}"
    loaded = load(Wanted(_place(model), quantization, device_map, dtype))
    engine, small = loaded.engine, loaded.parameters < SMALL_PARAMETERS

    def tuned(sampling: Sampling) -> Any:
        return loaded.chat.bind(
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed,
        )

    return Binding(
        spec=spec,
        endpoint=spec,
        tuned=tuned,
        max_tokens=SMALL_MAX_TOKENS if small else MAX_TOKENS,
        context_tokens=lambda: engine.window,
        count_tokens=lambda text: len(engine.encode(text)),
        schema_arguments=held_to if engine.takes_schema else no_schema,
        price=lambda *_: 0.0,
        states_end=True,
    )


def held_to(name: str, schema: JsonSchema) -> dict[str, Any]:
    """The call argument that holds a reply to this schema while it is drawn."""
    return {"schema": schema}


def load(wanted: Wanted) -> Loaded:
    """The loaded model; blocks while it loads, and every other thread that wants one as well."""
    # Looked up without the lock first: each expert asks, and another model may be loading.
    if found := _loaded.get(wanted):
        return found
    with _loading:
        if wanted not in _loaded:
            _loaded[wanted] = _load(wanted)
        return _loaded[wanted]


def _place(model: str) -> str:
    """One name for one model: the full path of a file or folder, else the hub id."""
    path = Path(model).expanduser()
    if path.suffix.lower() == ".gguf" or path.is_dir():
        return str(path.resolve())
    if model.startswith((".", "/", "~")):
        raise ModelUnavailable(f"huggingface: there is no folder or .gguf file {path}.")
    return model


def _load(wanted: Wanted) -> Loaded:
    _import_torch()
    try:
        import langchain_huggingface  # noqa: F401
        import transformers
    except ImportError as error:
        raise ModelUnavailable(f"huggingface: needs a package: {error}.", INSTALL) from None

    options = _options(wanted)
    if wanted.model.lower().endswith(".gguf"):
        model, tokenizer = pretrained.from_gguf(
            embedded_weights.require_gguf(Path(wanted.model)), options
        )
    elif Path(wanted.model).is_dir():
        model, tokenizer = pretrained.from_folder(wanted.model, options)
    else:
        model, tokenizer = pretrained.from_hub(wanted.model, options)
    if not tokenizer.chat_template:
        raise ModelUnavailable(
            f"huggingface:{wanted.model} has no chat template: it continues texts.",
            "Take a model that was trained on conversations, mostly named -Instruct or -Chat.",
        )
    pipeline = transformers.pipeline("text-generation", model=model, tokenizer=tokenizer)
    engine = Engine(pipeline, wanted.model)
    # A thread inside torch would crash the interpreter's end.
    atexit.register(engine.batcher.close)
    return Loaded(engine, BatchChat.over(engine), model.num_parameters())


def _import_torch() -> None:
    """Import torch such that its threads sleep while they wait for each other.

    By default OpenMP's threads spin, which on a machine with anything else to do makes every step
    ten times as long. OpenMP reads the variable once, when it is loaded.
    """
    before = os.environ.get("OMP_WAIT_POLICY")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ModelUnavailable(f"huggingface: needs torch ({error}).", INSTALL) from None
    finally:
        if before is None:
            del os.environ["OMP_WAIT_POLICY"]


def _options(wanted: Wanted) -> dict[str, Any]:
    """The arguments of `from_pretrained` that say how weights are held."""
    import torch

    gpu = torch.accelerator.is_available()
    options: dict[str, Any] = {"dtype": wanted.dtype or ("auto" if gpu else _fastest())}
    if wanted.device_map or gpu:
        options["device_map"] = wanted.device_map or "auto"
    if wanted.quantization != "none":
        options["quantization_config"] = _quantized(wanted.quantization, gpu)
    return options


def _fastest() -> Dtype:
    """bfloat16 on a processor with instructions for it (twice as fast there), else float32."""
    import torch

    able = torch.cpu.get_capabilities()
    return "bfloat16" if able.get("avx512_bf16") or able.get("amx_bf16") else "float32"


def _quantized(quantization: Quantization, gpu: bool) -> Any:
    """bitsandbytes' settings. Raises ModelUnavailable without a GPU or without the package."""
    import importlib.util

    import torch
    import transformers

    if not gpu:
        raise ModelUnavailable(
            f"huggingface: quantization {quantization} needs a GPU, and there is none here.",
            "Set quantization to none, or run a quantised .gguf file with embedded:PATH.",
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelUnavailable(
            f"huggingface: quantization {quantization} needs the package bitsandbytes.",
            "Install it: pip install bitsandbytes",
        )
    if quantization == "8bit":
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )


def batcher_of(spec: str) -> Any:
    """The batcher of a bound `huggingface:` model, for measurements."""
    return load(Wanted(_place(spec.partition(":")[2]))).engine.batcher
