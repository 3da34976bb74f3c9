"""Weights as transformers reads them: a folder, the hub's cache, or a GGUF file made a folder.

transformers de-quantises a GGUF file anew on every load, which takes a quarter of a minute for the
smallest model; here it is done once, when the file is first wanted.
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
from typing import Any

from swarm_brain.config import cache_folder
from swarm_brain.graph.errors import ModelUnavailable
from swarm_brain.models import embedded_weights

LOOKUP_SECONDS = 15.0
# What reading weights raises: files, formats, architectures, libraries for either.
_UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, AttributeError, TypeError, ImportError)
_UNFINISHED = ".convert-"


def from_folder(place: str, options: dict[str, Any], fix: str = "") -> tuple[Any, Any]:
    """Model and tokenizer from a folder. Raises ModelUnavailable if they cannot be read."""
    try:
        with _quiet():
            return _pretrained(place, local_files_only=True, **options)
    except _UNREADABLE as error:
        raise ModelUnavailable(
            f"huggingface:{place}: transformers cannot load this folder: {_first_line(error)}",
            fix,
        ) from None


def _pretrained(place: str, **options: Any) -> tuple[Any, Any]:
    import transformers
    from safetensors import SafetensorError

    where = {k: v for k, v in options.items() if k in ("local_files_only", "gguf_file")}
    tokenizer = transformers.AutoTokenizer.from_pretrained(place, **where)
    try:
        return transformers.AutoModelForCausalLM.from_pretrained(place, **options), tokenizer
    except SafetensorError as error:
        raise ValueError(f"the weights are damaged: {error}") from None


def from_gguf(file: Path, options: dict[str, Any]) -> tuple[Any, Any]:
    """From a GGUF file; de-quantised on first use, and kept so."""
    dtype = "float16" if options["dtype"] == "auto" else options["dtype"]

    def convert(file: Path, folder: Path) -> None:
        import torch

        try:
            with _quiet():
                # In float32, which transformers unpacks to; anything else it warns about.
                read = {"gguf_file": file.name, "dtype": "float32", "local_files_only": True}
                model, tokenizer = _pretrained(str(file.parent), **read)
                _unpacked(model, getattr(torch, dtype)).save_pretrained(folder)
                tokenizer.save_pretrained(folder)
        except _UNREADABLE as error:
            if isinstance(error, OSError) and error.errno:
                raise  # the folder's fault
            raise ModelUnavailable(
                f"huggingface: transformers cannot read {file}: {_first_line(error)}",
                f"llama.cpp knows more kinds of them: embedded:{file}",
            ) from None

    folder = str(converted(file, dtype, convert))
    return from_folder(folder, {**options, "dtype": dtype}, "Remove it; it is then made anew.")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300].rstrip(".")


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


def from_hub(model: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """From the hub's cache on this machine, else by download; what is cached needs no network."""
    from huggingface_hub import constants

    try:
        with _quiet():
            return _pretrained(model, local_files_only=True, **options)
    except _UNREADABLE as error:
        reason = _first_line(error)
    if constants.is_offline_mode():
        raise _not_had(model, f"HF_HUB_OFFLINE is set ({reason})")
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

    thread = threading.Thread(target=lambda: said.append(work()), daemon=True)
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


def converted(file: Path, dtype: str, convert: Callable[[Path, Path], None]) -> Path:
    """The folder with the weights of `file` in `dtype`; `convert(file, folder)` fills a new one.

    Known by path, size and time of change; a folder of the same path with others is removed. It is
    moved in place whole, so that a process that is killed never leaves half of it, and a second
    process waits for the first. Raises ModelUnavailable where it cannot be written.
    """
    import filelock

    folder, found, place = cache_folder() / "models" / "converted", file.stat(), _digest(str(file))
    target = folder / f"{place}-{dtype}-{_digest(f'{found.st_size} {found.st_mtime_ns}')}"
    if target.is_dir():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / f"{place}.lock"):  # free again if its process is killed
            if not target.is_dir():
                _make(file, target, convert)
    except OSError as error:
        raise ModelUnavailable(
            f"The model folder {folder} cannot take {file.name} de-quantised: "
            f"{error.strerror or error}.",
            f"Make room there, or set {embedded_weights.CACHE_VARIABLE} to another folder.",
        ) from error
    return target


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _make(file: Path, target: Path, convert: Callable[[Path, Path], None]) -> None:
    """Fill a folder beside `target` and rename it; whoever holds the lock is alone here."""
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


def _unpacked(model: Any, dtype: Any) -> Any:
    """A model read from a GGUF file as one that `save_pretrained` takes, in `dtype`."""
    # transformers takes the weights for packed still, and would refuse to save them.
    del model.config.quantization_config
    model.hf_quantizer = None
    return model.to(dtype)
