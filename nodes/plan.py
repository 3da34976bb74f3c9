"""Plan a run within its budget, by its worst case. Pure.

Under a budget the replies are shortened first, down to LEAST_REPLY_TOKENS. Then fewer experts run:
no critics, then low effort, then no intake, then one expert alone. Drafts are never cut. The plan
only decides how much to try; the ledger enforces the budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from swarm_brain.graph import propagation
from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import BudgetTooSmall, ConfigError
from swarm_brain.graph.state import Effort
from swarm_brain.graph.topology import Expert, Topology
from swarm_brain.models.binding import Binding
from swarm_brain.spending.ledger import LEAST_REPLY_TOKENS, Amount
from swarm_brain.spending.prompt_bound import prompt_bound

# Below this length of a reply, fewer experts with longer replies are better.
COMFORTABLE_TOKENS = 160
# Tokens that each token of a reply adds to the bound of a later prompt: about one with a tokenizer,
# half its bytes without.
GROWTH_COUNTED, GROWTH_GUESSED = 1.25, 3.0
USD_DIGITS = 1e9  # a minimum in an error message is rounded up to these
TAG_TOKENS = 24  # an upper bound for the tags around one part of a prompt


@dataclass(frozen=True)
class Plan:
    """The plan of a run. Without `max_tokens` each model uses its own limit."""

    effort: Effort
    max_steps: int
    max_tokens: int | None
    calls: int
    worst: Amount
    answer: Amount
    reduced: bool = False


@dataclass(frozen=True)
class Case:
    """The inputs of a worst case.

    `text` is the question with the earlier messages; `recalled` are the memories that memory
    experts are also shown.
    """

    topology: Topology
    context: Context
    text: str
    binding_of: Callable[[Expert], Binding]
    reply_of: Callable[[Expert], int]
    recalled: str = ""


def make_plan(case: Case, effort: Effort) -> Plan:
    """Return the plan for a question, within the budget if there is one.

    Raises ConfigError if dollars are limited but a price is unknown, BudgetTooSmall if the budget
    does not pay for one call.
    """
    context = case.context
    whole = plan_for(case, effort, context.max_steps, None)
    if context.budget_usd is not None and whole.worst.usd is None:
        raise ConfigError(_unknown_price(case))
    if within(whole.worst, context):
        return whole
    for least in (COMFORTABLE_TOKENS, LEAST_REPLY_TOKENS):
        for number, (candidate, steps) in enumerate(_candidates(case, effort)):
            if plan := _longest(case, candidate, steps, least):
                return replace(plan, reduced=number > 0)
    raise BudgetTooSmall(_smallest(case, effort))


def _candidates(case: Case, effort: Effort) -> Iterator[tuple[Effort, int]]:
    """Yield (effort, max_steps) for fewer and fewer experts."""
    topology, steps = case.topology, case.context.max_steps
    answer = topology.levels[topology.synthesis.name]
    tried = [(effort, steps), (effort, min(steps, answer)), ("low", steps), ("low", min(steps, 2)),
             ("low", 1)]  # fmt: skip
    yield from dict.fromkeys(tried)


def _longest(case: Case, effort: Effort, steps: int, least: int) -> Plan | None:
    """Return the plan with the longest replies that the budget pays for, or None."""
    longest = max(case.reply_of(expert) for expert in case.topology.experts.values())
    low, high = min(least, longest), longest
    if not within(plan_for(case, effort, steps, low).worst, case.context):
        return None
    while low < high:
        middle = (low + high + 1) // 2
        fits = within(plan_for(case, effort, steps, middle).worst, case.context)
        low, high = (middle, high) if fits else (low, middle - 1)
    return plan_for(case, effort, steps, low)


def plan_for(case: Case, effort: Effort, steps: int, most: int | None) -> Plan:
    """Return the worst case of asking each expert in these steps once."""
    topology = case.topology
    first, last = propagation.steps_planned(topology, steps)
    woken = propagation.reached(topology, effort, recalled=bool(case.recalled))
    names = {n for n in woken if first <= topology.levels[n] <= last}
    answering = topology.answering(steps).name
    names = {answering} if steps == 1 else names
    names -= set(case.context.without)
    costs = {name: _cost(case, name, names, most) for name in names}
    worst = sum(costs.values(), Amount())
    return Plan(effort, steps, most, len(names), worst, costs.get(answering, Amount()))


def _cost(case: Case, name: str, names: set[str], most: int | None) -> Amount:
    """Return the worst case of one expert's call, after replies of full length."""
    expert = case.topology.experts[name]
    binding = case.binding_of(expert)
    growth = GROWTH_COUNTED if binding.count_tokens else GROWTH_GUESSED
    heard = sum(
        int(_reply(case, other, most) * growth) + TAG_TOKENS
        for other in _heard(case, expert, names)
    )
    gated = [f"{e.name}: {e.role}" for e in case.topology.gated] if expert.traits.gates else []
    recalled = [case.recalled] if expert.traits.recalls else []
    texts = [expert.prompt, "\n".join([case.text, *gated, *recalled])]
    bound = prompt_bound(binding, texts) + heard + 2 * TAG_TOKENS
    reply = _reply(case, expert, most)
    return Amount(bound + reply, binding.price(bound, 0, reply))


def _reply(case: Case, expert: Expert, most: int | None) -> int:
    own = case.reply_of(expert)
    return own if most is None else min(own, most)


def _heard(case: Case, expert: Expert, names: set[str]) -> Iterator[Expert]:
    """Yield the experts that this one may hear: at most all earlier speakers."""
    levels = case.topology.levels
    for other in case.topology.experts.values():
        speaks = other.traits.speaks or other.name in expert.hears
        if other.name in names and levels[other.name] < levels[expert.name] and speaks:
            yield other


def within(worst: Amount, context: Context) -> bool:
    """Return whether the budget covers this amount."""
    tokens, usd = context.budget_tokens, context.budget_usd
    if tokens is not None and worst.tokens > tokens:
        return False
    return usd is None or (worst.usd is not None and worst.usd <= usd)


def _smallest(case: Case, effort: Effort) -> str:
    """Describe the smallest budget for one call."""
    least = plan_for(case, effort, 1, LEAST_REPLY_TOKENS).worst
    context = case.context
    if context.budget_tokens is not None and least.tokens > context.budget_tokens:
        return f"budget_tokens is {context.budget_tokens}, one call needs {least.tokens}"
    usd = math.ceil((least.usd or 0) * USD_DIGITS) / USD_DIGITS
    if usd < (least.usd or 0):  # the product was rounded down
        usd += 1 / USD_DIGITS
    return f"budget_usd is {context.budget_usd:g}, one call needs {usd:.9f}"


def _unknown_price(case: Case) -> str:
    unknown = {
        binding.spec
        for binding in map(case.binding_of, case.topology.experts.values())
        if binding.price(1, 0, 1) is None
    }
    return (
        f"budget_usd: the price of {', '.join(sorted(unknown))} is unknown. State it in "
        'swarm-brain.toml, [prices."provider:model"] with input and output in dollars per '
        "million tokens, or use budget_tokens."
    )
