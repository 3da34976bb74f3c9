"""Options of the command line that are derived from the fields of `Context`.

A field added to `Context` becomes an option of `ask`, `chat`, `batch` and the evals: its name is
spelled with dashes, its help is its description, its panel is what stands before the colon in its
title. `Context` alone validates the values.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Collection, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeVar, get_args, get_origin

import typer
from typer.core import TyperCommand

from swarm_brain.graph.errors import ConfigError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

# Options that are not spelled like their field; `use_memory` is --memory by a rule.
SPELLING = {"expert_models": "--expert-model", "use_global_workspace": "--workspace/--no-workspace"}
BUDGETS = ("budget_tokens", "budget_usd", "budget_seconds")
MODEL = ("model", "base_url")
# Settings by field or panel that mean nothing, or something else, where many questions are asked.
UNATTENDED = ("Budget", "Memory", "pause_before")
PAIR, JSON = "NAME=VALUE", "JSON|FILE"  # values that are not typed as their fields hold them
SHIPPED = "eight"
Settings = dict[str, object]
Text = TypeVar("Text", str, str | None)


def not_blank(text: Text) -> Text:
    """Check a name or query. Raises ConfigError if it is blank or not UTF-8."""
    if text is None:
        return text
    if not text.strip():
        raise ConfigError("A name or query must not be blank.")
    try:
        text.encode()
    except UnicodeEncodeError:  # what Python makes of arguments that are not UTF-8
        raise ConfigError("A name or query must be UTF-8 text.") from None
    return text


# Options of several commands that are no settings of a run.
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Thread = Annotated[
    str | None,
    typer.Option(help="Continue this thread; a new name starts one.", callback=not_blank),
]
NoSave = Annotated[
    bool, typer.Option("--no-save", help="Leave no trace: save no thread, use no memory.")
]
Topology = Annotated[
    str | None, typer.Option(help="A shipped topology or a YAML file. (default: eight)")
]
Url = Annotated[
    str | None, typer.Option(help="Ask the brain on a LangGraph server, http://HOST:PORT.")
]


class Setting(NamedTuple):
    """A field of `Context` as an option."""

    name: str
    option: str
    kind: type
    metavar: str | None
    bounds: str
    default: str
    panel: str | None
    description: str

    def within(self, names: Collection[str]) -> bool:
        """Return whether the field or its panel is among these names."""
        return self.name in names or self.panel in names

    @property
    def help(self) -> str:
        """The description, with bounds and default."""
        more = ", ".join(filter(None, (self.bounds, self.default and f"default: {self.default}")))
        return f"{self.description} ({more})" if more else self.description


@cache
def all_settings() -> Mapping[str, Setting]:
    """Return every field of `Context` as an option, by the field's name."""
    from swarm_brain.graph.context import Context  # takes longer to import than all of typer

    return {name: _setting(name, field) for name, field in Context.model_fields.items()}


def with_settings(
    *,
    only: Collection[str] = (),
    without: Collection[str] = (),
    defaults: Mapping[str, object] | None = None,
) -> type[TyperCommand]:
    """Return a command class with settings as options, for `app.command(cls=...)`.

    `only` and `without` name fields or panels. The command reads them with `settings_of(context)`.
    `defaults` replace those of `Context`.
    """

    class SettingsCommand(TyperCommand):
        """A command that derives its options only when they are needed."""

        @cached_property
        def derived(self) -> list[Any]:
            """The options that `Context` gives this command."""
            chosen = [
                setting._replace(default=str((defaults or {}).get(setting.name, setting.default)))
                for setting in all_settings().values()
                if (not only or setting.within(only)) and not setting.within(without)
            ]
            return _parameters(chosen)

        # Any: the classes that typer passes here are private.
        def get_params(self, ctx: Any) -> Any:
            """Return the options that come from `Context`, then those of the function."""
            return [*self.derived, *super().get_params(ctx)]

        def invoke(self, ctx: Any) -> Any:
            """Call the command; `settings_of` finds the values in the context."""
            values = {option.name: ctx.params.pop(option.name) for option in self.derived}
            ctx.obj = {**(defaults or {}), **_given(values)}
            return super().invoke(ctx)

    return SettingsCommand


def settings_of(context: typer.Context) -> Settings:
    """Return the command line's settings as JSON values.

    Raises ConfigError that names the wrong options.
    """
    # Both take longer to import than all of typer.
    from pydantic import ValidationError

    from swarm_brain.graph.context import Context

    values = {name: _value(all_settings()[name], value) for name, value in context.obj.items()}
    try:
        validated = Context.model_validate(values)
    except ValidationError as error:
        lines = (
            f"{flag(str(item['loc'][0]))}: {item['msg']}, got {item['input']!r}"
            for item in error.errors(include_url=False)
        )
        raise ConfigError("\n".join(lines)) from None
    return validated.model_dump(mode="json", include=set(values))


def flag(name: str) -> str:
    """Return the option of a field as it is typed: `--max-steps`."""
    return all_settings()[name].option.partition("/")[0]


def _parameters(settings: Sequence[Setting]) -> list[Any]:
    """Build typer's parameters from a function with such a signature."""

    def command() -> None:
        """Do nothing; only the signature is used."""

    parameters = [_parameter(setting) for setting in settings]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # PEP 362
    app = typer.Typer(add_completion=False)
    app.command()(command)
    return typer.main.get_command(app).params


def _parameter(setting: Setting) -> inspect.Parameter:
    kind: Any = list[str] if setting.kind is list else setting.kind
    option = typer.Option(
        setting.option,
        metavar=setting.metavar,
        help=setting.help.replace("[", r"\["),  # else rich takes it for markup
        rich_help_panel=setting.panel,
        show_default=False,
    )
    return inspect.Parameter(
        setting.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )


def _setting(name: str, field: FieldInfo) -> Setting:
    kind, metavar = _kind(field)
    spelled = name.removeprefix("use_").replace("_", "-")
    option = f"--{spelled}/--no-{spelled}" if kind is bool else f"--{spelled}"
    panel, colon, _ = (field.title or "").partition(": ")
    return Setting(
        name,
        SPELLING.get(name, option),
        kind,
        metavar,
        "repeatable" if kind is list else bounds_in_words(field),
        _default(field),
        panel if colon else None,
        field.description or "",
    )


def _kind(field: FieldInfo) -> tuple[type, str | None]:
    """Return the type of a field's option, and its placeholder in the help.

    Numbers stay text: `Context` converts them.
    """
    parts = get_args(field.annotation)
    kind: Any = parts[parts[0] is NoneType] if NoneType in parts else field.annotation
    arguments = get_args(kind)
    match get_origin(kind) or kind:
        case origin if origin is Literal:
            return str, f"<{'|'.join(arguments)}>"
        case origin if origin is tuple:
            return list, "NAME"
        case origin if origin is dict and arguments[1] is str:
            return list, PAIR
        case origin if origin is dict:
            return str, JSON
        case origin if origin is bool:
            return bool, None
        case number_or_text:
            return str, {int: "<int>", float: "<float>"}.get(number_or_text)


def bounds_in_words(field: FieldInfo) -> str:
    """Return the bounds of a number: `from 1 to 64`, `above 0 to 2`."""
    words = {"ge": "from", "gt": "above", "le": "to"}
    return " ".join(
        f"{word} {getattr(item, name):,}"
        for item in field.metadata
        for name, word in words.items()
        if hasattr(item, name)
    )


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if isinstance(default, bool):
        return "on" if default else "off"
    return "" if default in (None, (), {}) else str(default)


def _given(values: Mapping[str, object]) -> Settings:
    """Return the options that are present on the command line."""
    return {name: value for name, value in values.items() if value not in (None, (), [])}


def _value(setting: Setting, value: Any) -> object:
    """Return the value in the field's type. Raises ConfigError."""
    try:
        for text in value if isinstance(value, list) else [value]:
            str(text).encode()
    except UnicodeEncodeError:  # what Python makes of arguments that are not UTF-8
        raise ConfigError(f"{setting.option} must be UTF-8 text.") from None
    if setting.metavar == PAIR:
        return dict(_pair(setting, item) for item in value)
    if setting.metavar == JSON:
        return _json(setting, value)
    return "" if str(value).isspace() else value


def _pair(setting: Setting, item: str) -> tuple[str, str]:
    name, sign, value = item.partition("=")
    if not (sign and name and value):
        raise ConfigError(f"{setting.option} {item!r}: write {PAIR}.")
    return name.strip(), value.strip()


def _json(setting: Setting, value: str) -> object:
    """Parse JSON, or the file of JSON that the value names."""
    try:
        text = value if value.lstrip().startswith("{") else Path(value).read_text(encoding="utf-8")
        parsed: object = json.loads(text)
    except OSError as error:
        raise ConfigError(f"{setting.option}: {value} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{setting.option}: {value!r} is not JSON: {error}") from None
    return parsed
