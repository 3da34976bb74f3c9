"""The type of a compiled brain, with a typed result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, Interrupt

from swarm_brain.graph.context import Context
from swarm_brain.graph.state import BrainInput, BrainOutput, BrainState

Input = BrainInput | Command[str] | None
Settings = Context | Mapping[str, object] | None


class BrainResult(BrainOutput, total=False):
    """The result of `invoke`: the output, and the interrupts of a paused run."""

    __interrupt__: Sequence[Interrupt]


class Brain(CompiledStateGraph[BrainState, Context, BrainInput, BrainOutput]):
    """LangGraph's compiled graph, as `compile_brain` returns it.

    The methods below are for type checkers alone: at run time they are LangGraph's.
    """

    if TYPE_CHECKING:

        @overload
        def invoke(
            self,
            input: Input,
            config: RunnableConfig | None = None,
            *,
            version: Literal["v2"],
            **options: object,
        ) -> Any: ...

        @overload
        def invoke(
            self,
            input: Input,
            config: RunnableConfig | None = None,
            *,
            context: Settings = None,
            stream_mode: Literal["values"] = "values",
            version: Literal["v1"] = "v1",
            **options: object,
        ) -> BrainResult: ...

        @overload
        def invoke(
            self, input: Input, config: RunnableConfig | None = None, **options: object
        ) -> Any: ...

        def invoke(
            self, input: Input, config: RunnableConfig | None = None, **options: object
        ) -> Any: ...

        @overload
        async def ainvoke(
            self,
            input: Input,
            config: RunnableConfig | None = None,
            *,
            version: Literal["v2"],
            **options: object,
        ) -> Any: ...

        @overload
        async def ainvoke(
            self,
            input: Input,
            config: RunnableConfig | None = None,
            *,
            context: Settings = None,
            stream_mode: Literal["values"] = "values",
            version: Literal["v1"] = "v1",
            **options: object,
        ) -> BrainResult: ...

        @overload
        async def ainvoke(
            self, input: Input, config: RunnableConfig | None = None, **options: object
        ) -> Any: ...

        async def ainvoke(
            self, input: Input, config: RunnableConfig | None = None, **options: object
        ) -> Any: ...
