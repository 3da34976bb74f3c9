"""`huggingface:` a local transformers pipeline: hub id, folder, or one .gguf file."""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

from graph.errors import ConfigError, ModelUnavailable
from swarm_brain.models.binding import Binding, Sampling

SMALL_PARAMETERS = 1_000_000_000  # below, long replies only repeat themselves
SMALL_MAX_TOKENS, MAX_TOKENS = 256, 1024
INSTALL = "Install the extra: pip install 'swarm-brain[huggingface]'"

_loading = threading.Lock()
_generating = threading.Lock()  # one model, one generate at a time


def bind(model: str) -> Binding:
    """Bind `huggingface:model`; loads the weights on first use, once per process.

    Raises ModelUnavailable naming the package or the weights that are missing.
    """
    if not model:
        raise ConfigError("huggingface: names no model. Write huggingface:HUB_ID_OR_PATH.")
    with _loading:
        pipeline = _pipeline(model)
    window = pipeline.model.config.get_text_config().max_position_embeddings
    small = pipeline.model.num_parameters() < SMALL_PARAMETERS
    return Binding(
        spec=f"huggingface:{model}",
        endpoint=f"huggingface:{model}",
        tuned=lambda sampling: _chat(model, sampling),
        max_tokens=SMALL_MAX_TOKENS if small else MAX_TOKENS,
        context_tokens=lambda: int(window),
        count_tokens=lambda text: len(pipeline.tokenizer.encode(text, add_special_tokens=False)),
        price=lambda *_: 0.0,
    )


@lru_cache(maxsize=2)
def _pipeline(model: str) -> Any:
    """Weights and tokenizer as a transformers text-generation pipeline."""
    try:
        import transformers
    except ImportError:
        raise ModelUnavailable("huggingface: needs transformers and torch.", INSTALL) from None
    place, options = _source(model)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, **options)
        weights = transformers.AutoModelForCausalLM.from_pretrained(place, **options)
    except ImportError as error:
        raise ModelUnavailable(f"huggingface:{model}: {error}", INSTALL) from None
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise ModelUnavailable(
            f"huggingface:{model}: the weights cannot be had: {first}",
            f"Fetch them where there is a network: hf download {model}",
        ) from None
    return transformers.pipeline("text-generation", model=weights, tokenizer=tokenizer)


def _source(model: str) -> tuple[str, dict[str, str]]:
    """What `from_pretrained` takes: a folder and a file in it for a .gguf, else the name."""
    path = Path(model).expanduser()
    if path.suffix != ".gguf":
        return (str(path) if path.is_dir() else model), {}
    if not path.is_file():
        raise ModelUnavailable(f"huggingface: there is no file {path}.")
    return str(path.parent), {"gguf_file": path.name}


def _chat(model: str, sampling: Sampling) -> Any:
    """The pipeline as a chat model that draws its replies as told."""
    from langchain_core.runnables import RunnableLambda
    from langchain_huggingface import ChatHuggingFace, HuggingFacePipeline

    pipeline = _pipeline(model)
    chat = ChatHuggingFace(
        llm=HuggingFacePipeline(
            pipeline=pipeline,
            model_id=model,
            pipeline_kwargs={
                "max_new_tokens": sampling.max_tokens,
                "do_sample": sampling.temperature > 0,
                **({"temperature": sampling.temperature} if sampling.temperature > 0 else {}),
                "top_p": sampling.top_p,
                "return_full_text": False,
            },
        ),
        model_id=model,
        tokenizer=pipeline.tokenizer,
    )

    def generate(messages: Any, config: Any) -> Any:
        with _generating:
            if sampling.seed is not None:
                import transformers

                transformers.set_seed(sampling.seed)
            return chat.invoke(messages, config)

    return RunnableLambda(generate)
