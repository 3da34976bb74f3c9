"""The chat model of `simulation:`; simulation.py has its replies."""

from __future__ import annotations

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from swarm_brain.models.binding import Binding, JsonSchema
from swarm_brain.models.simulation import reply_to


class SimulatedChat(BaseChatModel):
    """A chat model that simulates its replies."""

    @property
    def _llm_type(self) -> str:
        return "simulation"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        schema: JsonSchema | None = None,
        **kwargs: object,
    ) -> ChatResult:
        message = AIMessage(content=reply_to(messages, schema))
        return ChatResult(generations=[ChatGeneration(message=message)])


def bind(model: str, base_url: str | None = None) -> Binding:
    """Bind `simulation:`; any text may follow the colon."""
    chat = SimulatedChat()
    return Binding(
        spec=f"simulation:{model}",
        endpoint="simulation",
        tuned=lambda _: chat,
        max_tokens=256,
        schema_arguments=lambda _, schema: {"schema": schema},
        price=lambda *_: 0.0,
        simulated=True,
    )
