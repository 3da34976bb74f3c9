"""`huggingface:` binds a local model: hub id, folder, or .gguf file.

A model is loaded once per process and shared by all experts. The calls of one step run as one batch
(see batcher.py and engine.py).
Imports inside functions, because PyTorch takes seconds and is an extra.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from swarm_brain.graph.errors import ConfigError, ModelUnavailable
from swarm_brain.models import embedded_weights
from swarm_brain.models.binding import Binding, CallArguments, JsonSchema, no_schema
from swarm_brain.models.huggingface import weights
from swarm_brain.models.huggingface.batcher import Batcher
from swarm_brain.models.huggingface.chat import BatchChat
from swarm_brain.models.huggingface.engine import Engine

Quantization = Literal["none", "8bit", "4bit"]
Dtype = Literal["float32", "float16", "bfloat16"]

SMALL_PARAMETERS = 1_000_000_000  # smaller models repeat themselves in long replies
SMALL_MAX_TOKENS, MAX_TOKENS = 256, 1024
INSTALL = "Install the extra: pip install 'swarm-brain[huggingface]'"


@dataclass(frozen=True)
class ModelSource:
    """A model and its weights' form. Equal sources share one loaded model."""

    model: str
    quantization: Quantization = "none"
    device_map: str | None = None
    dtype: Dtype | None = None


@dataclass(frozen=True)
class Loaded:
    """A model in memory, and the chat model of all its bindings."""

    engine: Engine
    chat: BatchChat
    parameters: int


_loaded: dict[ModelSource, Loaded] = {}
_loading = threading.Lock()


def bind(
    model: str,
    base_url: str | None = None,
    *,
    quantization: Quantization = "none",
    device_map: str | None = None,
    dtype: Dtype | None = None,
) -> Binding:
    """Bind `huggingface:model`; loads the weights on first use, once per process.

    `quantization` 8bit or 4bit needs a GPU and bitsandbytes. `device_map` is accelerate's; None
    uses a GPU if there is one. `dtype` None keeps the type of the stored weights on a GPU, and uses
    the fastest one on a CPU: bfloat16 if it has instructions for it, else float32.

    Raises ConfigError for a setting that means nothing, ModelUnavailable for a missing package,
    missing weights or missing hardware.
    """
    if not model:
        raise ConfigError("huggingface: names no model. Write huggingface:HUB_ID_OR_PATH.")
    if quantization not in get_args(Quantization):
        raise ConfigError(f"quantization must be none, 8bit or 4bit, not {quantization!r}.")
    if dtype not in (None, *get_args(Dtype)):
        raise ConfigError(f"dtype must be float32, float16 or bfloat16, not {dtype!r}.")
    spec = f"huggingface:{model}"
    loaded = load(ModelSource(_place(model), quantization, device_map, dtype))
    engine, small = loaded.engine, loaded.parameters < SMALL_PARAMETERS
    return Binding(
        spec=spec,
        endpoint=spec,
        tuned=lambda sampling: loaded.chat.bind(**asdict(sampling)),
        max_tokens=SMALL_MAX_TOKENS if small else MAX_TOKENS,
        context_tokens=lambda: engine.window,
        count_tokens=lambda text: len(engine.encode(text)),
        schema_arguments=follow if engine.takes_schema else no_schema,
        price=lambda *_: 0.0,
        states_end=True,
    )


def follow(name: str, schema: JsonSchema) -> CallArguments:
    """Return the call argument that makes a reply follow this schema."""
    return {"schema": schema}


def load(source: ModelSource) -> Loaded:
    """Return the loaded model. Blocks while any model is loading."""
    if loaded := _loaded.get(source):  # without the lock, which another model may hold
        return loaded
    with _loading:
        if source not in _loaded:
            _loaded[source] = _load(source)
        return _loaded[source]


def _place(model: str) -> str:
    """Return a model's canonical name: its full path, else the hub id."""
    path = Path(model).expanduser()
    if path.suffix.lower() == ".gguf" or path.is_dir():
        return str(path.resolve())
    if model.startswith((".", "/", "~")):
        raise ModelUnavailable(f"huggingface: there is no folder or .gguf file {path}.")
    return model


def _load(source: ModelSource) -> Loaded:
    _import_torch()
    try:
        import langchain_huggingface  # noqa: F401
        import transformers
    except ImportError as error:
        raise ModelUnavailable(f"huggingface: needs a package: {error}.", INSTALL) from None

    options = _options(source)
    if source.model.lower().endswith(".gguf"):
        model, tokenizer = weights.from_gguf(
            embedded_weights.require_gguf(Path(source.model)), options
        )
    elif Path(source.model).is_dir():
        model, tokenizer = weights.from_folder(source.model, options)
    else:
        model, tokenizer = weights.from_hub(source.model, options)
    if not tokenizer.chat_template:
        raise ModelUnavailable(
            f"huggingface:{source.model} has no chat template: it only continues texts.",
            "Use a model that was trained on conversations, often named -Instruct or -Chat.",
        )
    pipeline = transformers.pipeline("text-generation", model=model, tokenizer=tokenizer)
    engine = Engine(pipeline, source.model)
    # A thread inside torch would crash the interpreter as it ends.
    atexit.register(engine.batcher.close)
    return Loaded(engine, BatchChat.over(engine), model.num_parameters())


def _import_torch() -> None:
    """Import torch so that its threads sleep while they wait for each other.

    By default OpenMP's threads spin, which makes every step ten times as long on a busy machine.
    OpenMP reads the variable once, when it is loaded.
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


def _options(source: ModelSource) -> weights.Options:
    """Return the arguments of `from_pretrained` for the form of the weights."""
    import torch

    gpu = torch.accelerator.is_available()
    options: weights.Options = {"dtype": source.dtype or ("auto" if gpu else _fastest())}
    if source.device_map or gpu:
        options["device_map"] = source.device_map or "auto"
    if source.quantization != "none":
        options["quantization_config"] = _quantized(source.quantization, gpu)
    return options


def _fastest() -> Dtype:
    """Return bfloat16 for a CPU that supports it (twice as fast), else float32."""
    import torch

    able = torch.cpu.get_capabilities()
    return "bfloat16" if able.get("avx512_bf16") or able.get("amx_bf16") else "float32"


def _quantized(quantization: Quantization, gpu: bool) -> object:
    """Return bitsandbytes settings. Raises ModelUnavailable without a GPU."""
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


def batcher_of(spec: str) -> Batcher:
    """Return the batcher of a bound `huggingface:` model, for measurements."""
    return load(ModelSource(_place(spec.partition(":")[2]))).engine.batcher
