"""Weights for transformers: a folder, the hub's cache, or a GGUF file.

transformers de-quantises a GGUF file on every load, which takes 15 s for the smallest model. Here
that is done once, on first use.

Imports inside functions, because PyTorch takes seconds and is an extra.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from swarm_brain.config import cache_folder
from swarm_brain.graph.errors import ModelUnavailable
from swarm_brain.models import embedded_weights

if TYPE_CHECKING:
    import torch

Options = dict[str, object]  # of `from_pretrained`
Pretrained = tuple[Any, Any]  # model and tokenizer, of transformers
LOOKUP_SECONDS = 15.0
# Raised by reading weights: files, formats, architectures, missing libraries.
_UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, AttributeError, TypeError, ImportError)
_UNFINISHED = ".convert-"


def from_folder(place: str, options: Options, fix: str = "") -> Pretrained:
    """Return model and tokenizer from a folder. Raises ModelUnavailable."""
    try:
        with _quiet():
            return _pretrained(place, local_files_only=True, **options)
    except _UNREADABLE as error:
        raise ModelUnavailable(
            f"huggingface:{place}: transformers cannot load this folder: {_first_line(error)}",
            fix,
        ) from None


def _pretrained(place: str, **options: object) -> Pretrained:
    import transformers
    from safetensors import SafetensorError

    where = {k: v for k, v in options.items() if k in ("local_files_only", "gguf_file")}
    tokenizer = transformers.AutoTokenizer.from_pretrained(place, **where)
    try:
        return transformers.AutoModelForCausalLM.from_pretrained(place, **options), tokenizer
    except SafetensorError as error:
        raise ValueError(f"the weights are damaged: {error}") from None


def from_gguf(file: Path, options: Options) -> Pretrained:
    """Return model and tokenizer from a GGUF file, converted on first use."""
    dtype = "float16" if options["dtype"] == "auto" else str(options["dtype"])

    def convert(file: Path, folder: Path) -> None:
        import torch

        try:
            with _quiet():
                # transformers unpacks to float32, and warns about any other type.
                read: Options = {
                    "gguf_file": file.name,
                    "dtype": "float32",
                    "local_files_only": True,
                }
                model, tokenizer = _pretrained(str(file.parent), **read)
                _unpacked(model, getattr(torch, dtype)).save_pretrained(folder)
                tokenizer.save_pretrained(folder)
        except _UNREADABLE as error:
            if isinstance(error, OSError) and error.errno:
                raise  # the folder cannot be written
            raise ModelUnavailable(
                f"huggingface: transformers cannot read {file}: {_first_line(error)}",
                f"llama.cpp supports more kinds: embedded:{file}",
            ) from None

    folder = str(converted(file, dtype, convert))
    return from_folder(folder, {**options, "dtype": dtype}, "Remove it; it will be created again.")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300].rstrip(".")


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide transformers' progress bars, which would mix with the user's output."""
    from transformers.utils import logging

    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()


def from_hub(model: str, options: Options) -> Pretrained:
    """Return model and tokenizer from the hub's local cache, else by download."""
    from huggingface_hub import constants

    try:
        with _quiet():
            return _pretrained(model, local_files_only=True, **options)
    except _UNREADABLE as error:
        reason = _first_line(error)
    if constants.is_offline_mode():
        raise _unavailable(model, f"HF_HUB_OFFLINE is set ({reason})")
    if failed := _within(LOOKUP_SECONDS, lambda: _look_up(model)):
        raise _unavailable(model, failed)
    try:
        return _pretrained(model, **options)
    except _UNREADABLE as error:
        reason = _first_line(error)
    raise _unavailable(model, reason)


def _look_up(model: str) -> str | None:
    """Return why the hub cannot provide this model, or None."""
    import httpx
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(model, timeout=LOOKUP_SECONDS)
    except (httpx.HTTPError, OSError, ValueError) as error:
        return _first_line(error)
    return None


def _within(seconds: float, work: Callable[[], str | None]) -> str | None:
    """Return the result of `work` or a time-out; name resolution has none."""
    results: list[str | None] = [f"the hub did not answer within {seconds:g} s"]
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    thread.join(seconds)
    return results[-1]


def _unavailable(model: str, reason: str) -> ModelUnavailable:
    from huggingface_hub import constants

    return ModelUnavailable(
        f"huggingface:{model}: the weights are not in {constants.HF_HUB_CACHE}, and they cannot "
        f"be fetched: {reason}.",
        f"Fetch them with a network connection: hf download {model}",
    )


def converted(file: Path, dtype: str, convert: Callable[[Path, Path], None]) -> Path:
    """Return the folder with the weights of `file` in `dtype`, filling it if new.

    `convert(file, folder)` fills it. Its name depends on the file's path, size and time of change;
    outdated folders of the same path are removed. It is moved in place when it is complete: a
    killed process leaves no partial folder, and a second process waits for the first. Raises
    ModelUnavailable if it cannot be written.
    """
    folder, state, place = cache_folder() / "models" / "converted", file.stat(), _digest(str(file))
    target = folder / f"{place}-{dtype}-{_digest(f'{state.st_size} {state.st_mtime_ns}')}"
    if target.is_dir():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / f"{place}.lock"):  # free again if its process is killed
            if not target.is_dir():
                _make(file, target, convert)
    except OSError as error:
        raise ModelUnavailable(
            f"{file.name} cannot be converted in the model folder {folder}: "
            f"{error.strerror or error}.",
            f"Free space there, or set {embedded_weights.CACHE_VARIABLE} to another folder.",
        ) from error
    return target


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _make(file: Path, target: Path, convert: Callable[[Path, Path], None]) -> None:
    """Fill a folder beside `target` and rename it. The caller holds the lock."""
    place, dtype, _ = target.name.split("-")
    for old in (f"{_UNFINISHED}{place}-*", f"{place}-{dtype}-*"):
        for left in target.parent.glob(old):
            shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"{_UNFINISHED}{place}-", dir=target.parent))
    try:
        convert(file, scratch)
        for part in scratch.iterdir():
            with part.open("rb+") as content:
                os.fsync(content.fileno())  # else a power cut could leave the names alone
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _unpacked(model: Any, dtype: torch.dtype) -> Any:
    """Return a model read from a GGUF file in a form that can be saved."""
    # transformers still considers the weights packed, and would refuse to save them.
    del model.config.quantization_config
    model.hf_quantizer = None
    return model.to(dtype)
