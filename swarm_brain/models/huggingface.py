"""`huggingface:` a local transformers pipeline: hub id, folder, or one .gguf file.

Loaded once per process and shared by all experts; the calls of one wave run as one batch (see
huggingface_batch.py and huggingface_generate.py).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import platformdirs

from graph.errors import ConfigError, ModelUnavailable
from swarm_brain.models import weights
from swarm_brain.models.binding import Binding, JsonSchema, Sampling, no_schema
from swarm_brain.models.settings import variable

if TYPE_CHECKING:
    from swarm_brain.models.huggingface_generate import BatchChat, Engine

Quantization = Literal["none", "8bit", "4bit"]
Dtype = Literal["float32", "float16", "bfloat16"]

SMALL_PARAMETERS = 1_000_000_000  # below, long replies only repeat themselves
SMALL_MAX_TOKENS, MAX_TOKENS = 256, 1024
LOOKUP_SECONDS = 15.0
INSTALL = "Install the extra: pip install 'swarm-brain[huggingface]'"
# What reading weights raises: files, formats, architectures, libraries for either.
_UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, AttributeError, TypeError, ImportError)
_UNFINISHED = ".convert-"


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
        from swarm_brain.models.huggingface_generate import BatchChat, Engine
    except ImportError as error:
        raise ModelUnavailable(f"huggingface: needs a package: {error}.", INSTALL) from None
    import transformers

    options = _options(wanted)
    if wanted.model.lower().endswith(".gguf"):
        folder = converted(weights.require_gguf(Path(wanted.model)), options["dtype"])
        model, tokenizer = _read(str(folder), options)
    elif Path(wanted.model).is_dir():
        model, tokenizer = _read(wanted.model, options)
    else:
        model, tokenizer = _from_hub(wanted.model, options)
    if not tokenizer.chat_template:
        raise ModelUnavailable(
            f"huggingface:{wanted.model} has no chat template: it continues texts.",
            "Take a model that was trained on conversations, mostly named -Instruct or -Chat.",
        )
    pipeline = transformers.pipeline("text-generation", model=model, tokenizer=tokenizer)
    engine = Engine(pipeline)
    return Loaded(engine, BatchChat.over(engine, wanted.model), model.num_parameters())


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


def _read(place: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """Model and tokenizer from a folder. Raises ModelUnavailable if they cannot be read."""
    try:
        with _quiet():
            return _pretrained(place, local_files_only=True, **options)
    except _UNREADABLE as error:
        raise ModelUnavailable(
            f"huggingface:{place}: transformers cannot load this folder: {_first_line(error)}"
        ) from None


def _pretrained(place: str, **options: Any) -> tuple[Any, Any]:
    import transformers

    where = {k: v for k, v in options.items() if k in ("local_files_only", "gguf_file")}
    tokenizer = transformers.AutoTokenizer.from_pretrained(place, **where)
    return transformers.AutoModelForCausalLM.from_pretrained(place, **options), tokenizer


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars, which would stand between a user's own lines."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _from_hub(model: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """From the hub's cache on this machine, else by download; what is cached needs no network."""
    from huggingface_hub import constants

    try:
        with _quiet():
            return _pretrained(model, local_files_only=True, **options)
    except _UNREADABLE as error:
        reason = _first_line(error)
    if constants.is_offline_mode():
        raise _not_had(model, "HF_HUB_OFFLINE is set")
    if failed := _within(LOOKUP_SECONDS, lambda: _look_up(model)):
        raise _not_had(model, failed)
    try:
        return _pretrained(model, **options)
    except _UNREADABLE as error:
        reason = _first_line(error)
    raise _not_had(model, reason)


def _look_up(model: str) -> str | None:
    """Why the hub cannot give this model; None if it can."""
    import httpx
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(model, timeout=LOOKUP_SECONDS)
    except (httpx.HTTPError, OSError, ValueError) as error:
        return _first_line(error)
    return None


def _within(seconds: float, work: Callable[[], str | None]) -> str | None:
    """What `work` returns. A name server that never answers has no time limit of its own."""
    said: list[str | None] = [f"the hub did not answer within {seconds:g} s"]

    def run() -> None:
        found = work()
        said.append(found)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return said[-1]


def _not_had(model: str, reason: str) -> ModelUnavailable:
    from huggingface_hub import constants

    return ModelUnavailable(
        f"huggingface:{model}: the weights are not in {constants.HF_HUB_CACHE}, and they cannot "
        f"be fetched: {reason}.",
        f"Fetch them where there is a network: hf download {model}",
    )


def converted(file: Path, dtype: str) -> Path:
    """The folder with the weights of a GGUF file, de-quantised when they are first wanted.

    Known by path, size and time of change. It is moved in place whole, so that a process that is
    killed, or a second one, never leaves or sees half of it.
    """
    import filelock

    override = variable(weights.CACHE_VARIABLE)
    base = Path(override).expanduser() if override else platformdirs.user_cache_path("swarm-brain")
    folder, found = base / "models" / "converted", file.stat()
    place = _digest(str(file))
    version = _digest(f"{found.st_size} {found.st_mtime_ns}")
    target = folder / f"{place}-{dtype}-{version}"
    if target.is_dir():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / f"{place}.lock"):  # let go of when its process is killed
            if not target.is_dir():
                _convert(file, dtype, target)
    except OSError as error:
        raise ModelUnavailable(
            f"The model folder {folder} cannot take the converted {file.name}: {error}.",
            f"Make room there, or set {weights.CACHE_VARIABLE} to another folder.",
        ) from error
    return target


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _convert(file: Path, dtype: str, target: Path) -> None:
    """De-quantise into a folder beside `target` and rename that; nobody else does so just now."""
    place, name, _ = target.name.split("-")
    for old in (
        *target.parent.glob(f"{_UNFINISHED}{place}-*"),
        *target.parent.glob(f"{place}-{name}-*"),
    ):
        shutil.rmtree(old, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"{_UNFINISHED}{place}-", dir=target.parent))
    try:
        model, tokenizer = _unpacked(file, dtype)
        with _quiet():
            model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        for part in scratch.iterdir():
            with part.open("rb+") as content:
                os.fsync(content.fileno())  # else a power cut could leave the names alone
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _unpacked(file: Path, dtype: str) -> tuple[Any, Any]:
    """Model and tokenizer of a GGUF file, with weights that can be saved."""
    try:
        with _quiet():
            model, tokenizer = _pretrained(
                str(file.parent), gguf_file=file.name, dtype=dtype, local_files_only=True
            )
    except _UNREADABLE as error:
        raise ModelUnavailable(
            f"huggingface: transformers cannot read {file}: {_first_line(error)}",
            f"Try llama.cpp, which knows more of them: embedded:{file}",
        ) from None
    # transformers takes them for packed still, and would not save them.
    del model.config.quantization_config
    model.hf_quantizer = None
    return model, tokenizer


def batcher_of(spec: str) -> Any:
    """The batcher of a bound `huggingface:` model, for measurements."""
    return load(Wanted(_place(spec.partition(":")[2]))).engine.batcher
