"""A conversation: many questions in one thread, and slash commands."""

from __future__ import annotations

from contextlib import suppress

from rich.console import Console
from rich.text import Text

from swarm_brain.cli.console import fail
from swarm_brain.cli.options import Settings
from swarm_brain.cli.terminal.run import Ask, ask_in
from swarm_brain.cli.terminal.session import Session, new_thread, session
from swarm_brain.cli.terminal.text import printable, read_line
from swarm_brain.graph.context import make_context
from swarm_brain.graph.errors import BrainError
from swarm_brain.graph.loading import load
from swarm_brain.graph.state import Result
from swarm_brain.runs.saved import saved_runs
from swarm_brain.threads import checkpoints

HELP = """\
/history          show the questions and answers of this thread
/experts          show which experts worked on the last answer
/recalled         show the memories recalled for the last answer
/thread           show the thread's id, and how to continue it later
/new              start a new thread
/set NAME=VALUE   change a setting for the next questions, as in /set effort=high
/quit             leave (or Ctrl-D)"""


class Chat:
    """A conversation in progress."""

    def __init__(
        self, opened: Session, thread: str | None, topology: str, settings: Settings
    ) -> None:
        self.opened, self.topology, self.settings = opened, topology, settings
        self.thread = thread or new_thread()
        self.brain = opened.brain(load(topology))
        self.last: Result | None = None
        self.out = Console(highlight=False)

    async def take(self, line: str) -> bool:
        """Handle a line that the user typed. Return False if it ends the conversation."""
        if not line.startswith("/"):
            await self._ask(line)
            return True
        command, _, rest = line[1:].partition(" ")
        match command:
            case "quit" | "exit" | "q":
                return False
            case "history":
                await self._history()
            case "experts":
                self._experts()
            case "recalled":
                self._recalled()
            case "thread":
                self._say(f"{self.thread}: swarm-brain chat --thread {self.thread}")
            case "new":
                self.thread, self.last = new_thread(), None
                self._say(f"thread {self.thread}")
            case "set":
                self._set(rest)
            case _:
                self._say(HELP if command == "help" else f"unknown command /{command}\n{HELP}")
        return True

    async def _ask(self, question: str) -> None:
        request = Ask(question, self.topology, self.settings, thread=self.thread)
        try:
            self.last = await ask_in(self.opened, request, self.brain)
        except BrainError as error:
            fail(error)

    async def _history(self) -> None:
        for run in await saved_runs(checkpoints.saver_of(self.brain), self.thread):
            answer = run["result"]["final_output"] if run["result"] else "(unfinished)"
            self.out.print(Text(f"> {printable(run['question'])}", style="bold"))
            self.out.print(Text(printable(answer)))

    def _experts(self) -> None:
        for entry in self.last["experts"] if self.last else []:
            woken = ", ".join(f"{w['from']} {w['activation']:.2f}" for w in entry["woken_by"])
            self._say(f"{entry['step']} {entry['name']}: {entry['status']}, woken by {woken}")

    def _recalled(self) -> None:
        items = self.last["recalled"] if self.last else []
        for item in items:
            self._say(f"{item['score']:.2f} {item['text']} ({item['origin']}, {item['date'][:10]})")
        if not items:
            self._say("no memory was recalled")

    def _set(self, text: str) -> None:
        name, sign, value = text.partition("=")
        if not sign:
            self._say("write /set NAME=VALUE")
            return
        changed = {**self.settings, name.strip(): value.strip()}
        try:
            context = make_context(changed)
        except BrainError as error:
            fail(error)
            return
        self.settings = {**changed, name.strip(): getattr(context, name.strip())}

    def _say(self, text: str) -> None:
        self.out.print(Text(printable(text), style="dim"))


async def converse(
    thread: str | None, topology: str, settings: Settings, err: Console, *, save: bool
) -> None:
    """Answer questions and slash commands until the user leaves."""
    with suppress(ImportError):
        import readline  # noqa: F401  gives input() a history and arrow keys
    async with session(err, save=save) as opened:
        chat = Chat(opened, thread, topology, settings)
        err.print(f"thread {chat.thread}; /help lists the commands", style="dim", markup=False)
        while True:
            try:
                line = (await read_line("> ")).strip()
            except EOFError:
                return
            if line and not await chat.take(line):
                return
