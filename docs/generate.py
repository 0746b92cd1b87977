"""Writes the documents that are read off the code: `python -m docs.generate [--check]`.

`docs/configuration.md` and `.env.example` come from `reminders.settings.Settings`: the name is the
field's, the meaning is the docstring below it, the group is the comment above it, and the default
and its bounds are the field's own.

`docs/cli.md` comes from the commands themselves: usage, arguments and options are what `--help` says.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
import textwrap
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from typer.main import get_command

from reminders.settings import Settings
from starter.cli import main as cli
from starter.cli.options import ExitCode

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 100
"""Of a line of `.env.example`, in characters."""

_GROUP = re.compile(r" {4}# (?P<title>.+)")
"""A comment on the level of the fields."""

_BOUNDS = {"ge": "from {}", "gt": "more than {}", "le": "to {}", "lt": "less than {}"}
"""In words, by their names in pydantic's metadata."""

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
"""Of a duration, the largest first; up to 90 minutes are minutes."""
_LONGEST_IN_MINUTES = 90 * 60

CONFIGURATION = """\
<!-- Written by `python -m docs.generate` from reminders/settings.py: change that, not this. -->

# Configuration

Worker, API and command line are configured by environment variables and nothing else.
A file `.env` in the working directory may hold them as well; the environment wins.
An empty value counts as absent.
What cannot work is refused at the start, in one line that names the variable.

Durations are written `90s`, `60m`, `2h` or `1d`.

{groups}
## Temporal's own

Where the Temporal server is, and who we are to it, is said as the `temporal` command reads it,
by variables or by a profile in Temporal's configuration file.
They must be in the environment: they are not read from `.env`.

| variable | default | meaning |
| --- | --- | --- |
| `TEMPORAL_ADDRESS` | `localhost:7233` | host and port of the server |
| `TEMPORAL_NAMESPACE` | `default` | |
| `TEMPORAL_API_KEY` | | for Temporal Cloud; switches TLS on |
| `TEMPORAL_TLS`, `TEMPORAL_TLS_...` | | certificates and server name |
| `TEMPORAL_PROFILE`, `TEMPORAL_CONFIG_FILE` | | a profile of Temporal's configuration file, and where that is |

## The six constants of a cron mailer

If you come from a script that polls the database and sends in a loop, you know six constants.
They keep their names; two mean a little more here, and have other defaults:

| constant | in a loop | here |
| --- | --- | --- |
| `EMAIL_BATCH_SIZE` | 10 e-mails between two pauses, a request each | e-mails in *one* request |
| `EMAIL_BATCH_DELAY_MS` | a pause of 2000 ms in one process | least time between two requests of *all* workers, and none at once; can only slow the pace down that `EMAIL_REQUESTS_PER_SECOND` sets |
| `EMAIL_MAX_RETRIES` | then the e-mail is lost | retries in place; then the workflow retries until the session starts |
| `EMAIL_INITIAL_BACKOFF_MS`, `EMAIL_MAX_BACKOFF_MS`, `EMAIL_BACKOFF_MULTIPLIER` | wait between retries | the same |
"""

COMMANDS = """\
<!-- Written by `python -m docs.generate` from starter/cli/: change those, not this. -->

# The command `reminders`

It reads the same [configuration](configuration.md) as the worker and the API.
With `--json`, a command prints what the HTTP API answers.
Cancelling a session, erasing a user, `redrive` and deleting a rule ask for confirmation; without a terminal, pass `--yes`.
`--dry-run` only shows what would happen.
Long-running commands show their progress on standard error, if that is a terminal.
Instants are RFC 3339 with an offset (`2026-12-01T15:00:00+01:00`), durations `90s`, `60m`, `2h` or `1d`.

`reminders --install-completion` teaches bash, zsh, fish and PowerShell to complete commands and options;
`--show-completion` prints what it would install. `reminders --version` prints the version.

## Exit codes

| code | meaning |
| --- | --- |
{exit_codes}

## Commands

| command | what it does |
| --- | --- |
{index}

{commands}"""

ENV_EXAMPLE = """\
# Written by `python -m docs.generate` from reminders/settings.py: change that, not this.
#
# Copy to .env and uncomment what you set; the values shown are the defaults, and nothing behind
# the sign means that there is none. Where the Temporal server is (TEMPORAL_ADDRESS, ...) belongs
# into the environment, where the `temporal` command looks for it too.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One field of `Settings`, as people need to know it."""

    name: str
    """Of the environment variable."""
    group: str
    meaning: str
    """The docstring, on one line; empty if there is none."""
    bounds: str
    """Which values are allowed; empty if any of the type are."""
    default: str
    """As it is written in the environment; empty if there is none, or if it depends."""

    @property
    def sentence(self) -> str:
        """Meaning and bounds."""
        bounds = f"{self.bounds[:1].upper()}{self.bounds[1:]}." if self.bounds else ""
        return " ".join(part for part in (self.meaning, bounds) if part)


def settings() -> list[Setting]:
    """Every setting, in the order of the source."""
    described = {name: (group, meaning) for name, group, meaning in _described(Settings)}
    return [
        Setting(
            name=name.upper(),
            group=described[name][0],
            meaning=described[name][1],
            bounds=_bounds(field),
            default=_written(field.default) if field.default_factory is None else "",
        )
        for name, field in Settings.model_fields.items()
    ]


def configuration() -> str:
    """The text of `docs/configuration.md`."""
    parts = []
    for group, members in _grouped(settings()).items():
        rows = "\n".join(
            f"| `{s.name}` | {f'`{s.default}`' if s.default else ''} | {s.sentence} |"
            for s in members
        )
        parts.append(
            f"## {group}\n\n| variable | default | meaning |\n| --- | --- | --- |\n{rows}\n"
        )
    return CONFIGURATION.format(groups="\n".join(parts))


def env_example() -> str:
    """The text of `.env.example`."""
    parts = [ENV_EXAMPLE]
    for group, members in _grouped(settings()).items():
        lines = [f"\n# ---- {group}\n"]
        for setting in members:
            comment = textwrap.wrap(setting.sentence.replace("`", ""), WIDTH - 2)
            lines += ["", *(f"# {line}" for line in comment), f"#{setting.name}={setting.default}"]
        parts.append("\n".join(lines).replace("\n\n\n", "\n\n"))
    return "\n".join(part.rstrip("\n") for part in parts) + "\n"


def commands() -> dict[str, Any]:
    """Every command by its words, such as `session show`, in the order of `--help`."""

    def within(group: Any, words: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - typer's own
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from within(command, f"{words}{name} ")
            else:
                yield words + name, command

    return dict(within(get_command(cli.app), ""))


def command_line() -> str:
    """The text of `docs/cli.md`."""
    found = commands()
    meanings = _values(ExitCode)
    return COMMANDS.format(
        exit_codes="\n".join(f"| {code.value} | {meanings[code.name]} |" for code in ExitCode),
        index="\n".join(
            f"| [`reminders {words}`](#reminders-{words.replace(' ', '-')}) |"
            f" {_paragraphs(command.help)[0].partition('. ')[0].rstrip('.')} |"
            for words, command in found.items()
        ),
        commands="\n".join(_command(words, command) for words, command in found.items()),
    )


def _command(words: str, command: Any) -> str:  # noqa: ANN401 - typer's own
    """One command's chapter."""
    context = command.make_context(f"reminders {words}", [], resilient_parsing=True)
    parts = [f"## `reminders {words}`", *_paragraphs(command.help)]
    parts.append(f"```text\nreminders {words} {usage(command)}\n```")
    rows = [
        f"| `{_cell(record[0])}` | {_cell(record[1])} |"
        for parameter in command.params
        if (record := parameter.get_help_record(context)) is not None
    ]
    if rows:
        parts.append("\n".join(["| | |", "| --- | --- |", *rows]))
    return "\n\n".join(parts) + "\n"


def usage(command: Any) -> str:  # noqa: ANN401 - typer's own
    """How a command is written."""
    context = command.make_context("", [], resilient_parsing=True)
    return re.sub(r"[{](\w+)[}]", r"\1", " ".join(command.collect_usage_pieces(context)))


def _cell(text: str) -> str:
    """What `--help` says, on one line, without ending a table's cell."""
    return " ".join(text.replace("\\[", "[").split()).replace("|", "\\|")


def _paragraphs(text: str) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


def _values(enumeration: type) -> dict[str, str]:
    """The docstring below each member, on one line, by the member's name."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(enumeration))).body
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    return {
        statement.targets[0].id: " ".join(_docstring(following).split())
        for statement, following in zip(body, [*body[1:], None], strict=True)
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }


DOCUMENTS: Mapping[str, Callable[[], str]] = {
    ".env.example": env_example,
    "docs/cli.md": command_line,
    "docs/configuration.md": configuration,
}
"""What is generated, by its path in the checkout."""


def outdated() -> list[str]:
    """The documents that are not as they would be written."""
    return [
        name
        for name, write in DOCUMENTS.items()
        if not (ROOT / name).is_file() or (ROOT / name).read_text(encoding="utf-8") != write()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write what is outdated, or only name it.

    Returns:
        Exit code: 1 if something is outdated and `--check` was asked for.
    """
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if outdated")
    check = parser.parse_args(arguments).check
    names = outdated()
    for name in names:
        if not check:
            (ROOT / name).write_text(DOCUMENTS[name](), encoding="utf-8")
        sys.stdout.write(f"{'outdated' if check else 'written'}: {name}\n")
    return 1 if check and names else 0


def _described(model: type) -> Iterator[tuple[str, str, str]]:
    """Name, group and meaning of every field, from the source: comments are nowhere else."""
    source = textwrap.dedent(inspect.getsource(model))
    definition = ast.parse(source).body[0]
    if not isinstance(definition, ast.ClassDef):
        message = f"{model.__name__} is no class"
        raise TypeError(message)
    lines = source.splitlines()
    for statement, following in zip(definition.body, [*definition.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        above = (_GROUP.fullmatch(line) for line in reversed(lines[: statement.lineno - 1]))
        group = next((found["title"] for found in above if found), "")
        yield statement.target.id, group, " ".join(_docstring(following).split())


def _docstring(statement: ast.stmt | None) -> str:
    """The string that a statement is; empty if it is something else."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return str(statement.value.value)
    return ""


def _grouped(found: Sequence[Setting]) -> dict[str, list[Setting]]:
    groups: dict[str, list[Setting]] = {}
    for setting in found:
        groups.setdefault(setting.group, []).append(setting)
    return groups


def _bounds(field: FieldInfo) -> str:
    """The allowed values in words."""
    if typing.get_origin(field.annotation) is typing.Literal:
        choices = [f"`{choice}`" for choice in typing.get_args(field.annotation)]
        return "one of " + ", ".join(choices) if len(choices) > 1 else ""
    words = []
    for name, phrase in _BOUNDS.items():
        limits = [limit for m in field.metadata if (limit := getattr(m, name, None)) is not None]
        words += [phrase.format(_written(limit)) for limit in limits]
    return " ".join(words)


def _written(value: Any) -> str:  # noqa: ANN401 - whatever a default may be
    """A value as it is written in the environment."""
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
        units = _UNITS[2:] if seconds <= _LONGEST_IN_MINUTES else _UNITS
        unit, size = next((u, size) for u, size in units if seconds % size == 0)
        return f"{seconds / size:g}{unit}"
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
