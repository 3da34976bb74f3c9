"""Which node follows which: `finish` runs once, whatever happens, and after any edited signal."""

from __future__ import annotations

import uuid
from collections import Counter

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from swarm_brain.graph.brain import compile_brain
from swarm_brain.graph.errors import ModelError
from swarm_brain.graph.loading import load
from tests.fakes import Script

HARD = "Why is the subject what it is?"
SIMPLE = "What does subject mean?"
EIGHT = list(load().experts)
DEFECT = '{"defects": [{"quote": "the subject is", "problem": "says who?"}]}'


class Thread:
    """A thread of the shipped brain, and which of its nodes have run."""

    def __init__(self, topology=None):
        self.brain = compile_brain(topology, checkpointer=InMemorySaver())
        self.config = {"configurable": {"thread_id": uuid.uuid4().hex}}

    def run(self, start, until=None, **settings) -> Counter[str]:
        """Run to the end, or to a pause; return how often each node ran."""
        updates = self.brain.stream(
            start,
            self.config,
            context={"model": "scripted:m", **settings},
            stream_mode="updates",
            interrupt_after=until,
        )
        return Counter(name for update in updates for name in update if name[:2] != "__")

    def ask(self, question=HARD, until=None, **settings) -> Counter[str]:
        return self.run({"question": question}, until, **settings)

    @property
    def state(self):
        return self.brain.get_state(self.config).values

    def edit(self, expert: str, **changes) -> tuple[str, ...]:
        """Write an expert's last signal again, changed; return which nodes are next."""
        signal = [s for s in self.state["signals"] if s["source"] == expert][-1]
        update = {"signals": [{**signal, **changes}]}
        self.brain.update_state(self.config, update, as_node=expert)
        return self.brain.get_state(self.config).next


@pytest.mark.parametrize(
    ("question", "settings", "says"),
    [
        (SIMPLE, {}, {}),
        (HARD, {}, {}),
        (HARD, {}, {"meta_cognitive": DEFECT}),
        (HARD, {"max_revisions": 0}, {"meta_cognitive": DEFECT}),
        (HARD, {}, {"attention": '{"creative": 0, "analytical": 0}'}),
        (HARD, {}, dict.fromkeys(EIGHT, ModelError("server", "no"))),
        (HARD, {"on_error": "skip"}, {"synthesis": ModelError("server", "no")}),
        (HARD, {"threshold": 1.0}, {}),
        (SIMPLE, {"threshold": 1.0}, {"perception": "I cannot say."}),
        (HARD, {"without": EIGHT}, {}),
        *[(question, {"max_steps": n}, {}) for question in (HARD, SIMPLE) for n in range(1, 6)],
    ],
)
def test_finish_runs_once(script: Script, question, settings, says):
    script.says |= says
    thread = Thread()
    ran = thread.ask(question, **settings)
    assert ran["finish"] == 1
    assert {name for name in ran if ran[name] > 1} <= {"synthesis"}
    assert thread.state["final_output"]
    assert thread.ask(question, **settings)["finish"] == 1  # and once in the thread's next run


@pytest.mark.parametrize("action", ["approve", "skip", "stop"])
@pytest.mark.parametrize("expert", EIGHT)
def test_finish_runs_once_after_a_pause(script: Script, expert, action):
    thread = Thread()
    assert thread.ask(pause_before=[expert])["finish"] == 0
    assert thread.run(Command(resume=action))["finish"] == 1


def test_finish_runs_once_where_a_memory_expert_joins_a_simple_question(script: Script):
    thread = Thread()
    thread.brain.invoke(
        {"question": SIMPLE},
        thread.config,
        context={"model": "scripted:m"},
        interrupt_after="begin",
    )
    recall = {"id": "1", "kind": "fact", "text": "So it is.", "origin": "", "date": "", "score": 1}
    memory = {**thread.state["memory"], "recalled": [recall]}
    thread.brain.update_state(thread.config, {"memory": memory}, as_node="begin")
    ran = thread.run(None)
    assert ran["memory"] == ran["finish"] == 1
    assert ran["meta_cognitive"] == 0


# ---- the end of a run, edited


def test_an_edited_answer_is_criticised_and_finished(script: Script):
    thread = Thread()
    thread.ask()
    assert thread.edit("synthesis", content="It is so.\nVerdict: 7", verdict="7") == (
        "meta_cognitive",
    )
    assert thread.run(None) == {"meta_cognitive": 1, "finish": 1}
    assert thread.state["final_output"] == "It is so.\nVerdict: 7"
    assert thread.state["verdict"] == "7"
    assert [message.text for message in thread.state["messages"]] == [
        HARD,
        "It is so.\nVerdict: 7",
    ]
    assert "It is so." in script.of("meta_cognitive")[-1]["user"]


def test_an_edited_answer_of_a_simple_question_is_finished(script: Script):
    thread = Thread()
    thread.ask(SIMPLE)
    assert thread.edit("synthesis", content="It is so.", verdict=None) == ("finish",)
    assert thread.run(None) == {"finish": 1}
    assert thread.state["final_output"] == "It is so."


def test_a_defect_written_by_hand_buys_a_revision(script: Script):
    thread = Thread()
    thread.ask()
    script.says["synthesis"] = "Another answer.\nVerdict: 7"
    defects = [{"quote": "the subject is", "problem": "says who?"}]
    assert thread.edit("meta_cognitive", defects=defects) == ("synthesis",)
    assert thread.run(None) == {"synthesis": 1, "finish": 1}
    assert thread.state["final_output"] == "Another answer.\nVerdict: 7"
    assert thread.state["revised"] is True


def test_a_critic_that_finds_nothing_leads_to_the_end(script: Script):
    script.says["meta_cognitive"] = DEFECT
    thread = Thread()
    thread.ask()
    assert thread.state["revised"] is True
    assert thread.edit("meta_cognitive", defects=[]) == ("finish",)
    assert thread.run(None) == {"finish": 1}


def test_an_edited_revision_is_the_answer(script: Script):
    script.says["meta_cognitive"] = DEFECT
    thread = Thread()
    thread.ask()
    assert thread.edit("synthesis", content="Written by hand.", verdict=None) == ("finish",)
    assert thread.run(None) == {"finish": 1}
    assert thread.state["final_output"] == "Written by hand."


@pytest.mark.parametrize(
    ("question", "expert"),
    [
        *((HARD, expert) for expert in EIGHT),
        *((SIMPLE, expert) for expert in ("perception", "reasoning", "synthesis")),
    ],
)
def test_every_edited_signal_leads_to_finish(script: Script, question, expert):
    thread = Thread()
    assert thread.ask(question)[expert] == 1
    thread.edit(expert, content="Written by hand.")
    again = thread.run(None)
    assert again["finish"] == 1
    assert max(again.values()) == 1
    assert again["begin"] == 0


def test_an_edited_draft_is_answered_anew(script: Script):
    thread = Thread()
    thread.ask()
    script.says["synthesis"] = "Another answer.\nVerdict: 7"
    assert thread.edit("creative", content="A better draft.\nVerdict: 7") == ("synthesis",)
    assert thread.run(None)["finish"] == 1
    assert "A better draft." in script.of("synthesis")[-1]["user"]
    assert thread.state["final_output"] == "Another answer.\nVerdict: 7"


def test_edited_gates_wake_whom_they_deserve(script: Script):
    thread = Thread()
    thread.brain.invoke(
        {"question": HARD},
        thread.config,
        context={"model": "scripted:m"},
        interrupt_after="attention",
    )
    assert thread.edit("attention", gates={"creative": 0.1, "analytical": 0.1}) == ("reasoning",)
    assert thread.edit("attention", gates={"creative": 0.9}) == (
        "reasoning",
        "creative",
        "analytical",
    )
