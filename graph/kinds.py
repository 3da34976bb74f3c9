"""The kinds of experts and their differences.

To add a kind, name it in `Kind` and describe it in KINDS. Parts of the prompt for this kind alone
go into nodes/prompt.py (BEFORE_HEARD, AFTER_HEARD). A reader of replies that are not plain text
goes into nodes/signal.py (FORMS).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["intake", "gate", "memory", "proposer", "synthesis", "critic"]


@dataclass(frozen=True)
class Traits:
    """The common traits of experts of one kind.

    `speaks`: later experts may be shown its words; else only edges read its reply. `drafts`: its
    words are a draft of the answer. `gates`: it decides on gated experts. `recalls`: it is shown
    memories. `checks`: it runs only after a usable answer, and may send it back.
    `conversation` and `instructions`: it is shown the earlier messages, and the system messages.
    `apart`: kinds that it is shown apart, not as heard. `end`: why it wakes nobody.
    """

    speaks: bool = True
    drafts: bool = False
    gates: bool = False
    recalls: bool = False
    checks: bool = False
    conversation: bool = True
    instructions: bool = True
    apart: tuple[Kind, ...] = ()
    end: str = "no edge fires"


KINDS: Mapping[Kind, Traits] = {
    "intake": Traits(),
    "gate": Traits(speaks=False, gates=True, conversation=False, instructions=False),
    "memory": Traits(recalls=True, instructions=False),
    "proposer": Traits(drafts=True),
    "synthesis": Traits(apart=("proposer", "synthesis"), end="answer"),
    "critic": Traits(
        speaks=False,
        checks=True,
        conversation=False,
        apart=("synthesis",),
        end="sound, or no revision left",
    ),
}
