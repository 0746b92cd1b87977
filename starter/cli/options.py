"""What the commands share: arguments, how one runs and ends, and how an answer is shown.

Modules of commands import the standard library, typer and the domain. What answers a command is
imported when it runs, so that `--help` and shell completion take no longer than typer itself.
"""

from __future__ import annotations

import inspect
import pkgutil
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import fields, is_dataclass, replace
from datetime import timedelta
from enum import IntEnum
from functools import update_wrapper
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeAlias, TypeVar, get_type_hints
from uuid import UUID

import typer
from typer.core import TyperGroup

from reminders.domain.errors import ReminderError

if TYPE_CHECKING:
    from reminders.db.audit import By
    from reminders.db.lookups import Names
    from starter.assembly import Parts

_T = TypeVar("_T")
Question: TypeAlias = "Callable[[Parts], Awaitable[_T]]"


class ExitCode(IntEnum):
    """How a command ended; `ReminderError.exit_code` says which failure ends with which."""

    OK = 0
    """Done."""
    FAILED = 1
    """An expected failure; one line on standard error says the remedy."""
    USAGE = 2
    """The command was not understood, or nobody was there to confirm it."""
    NOT_FOUND = 3
    """There is no such session, user, enrollment, reminder or rule."""
    UNAVAILABLE = 4
    """PostgreSQL or Temporal is away; repeat the same command."""
    RED = 5
    """`doctor`, `db check` or `shadow-diff` found something."""


def ask(question: Question[_T]) -> _T:
    """Put a question to the parts, and end the process properly if that fails as expected."""
    import asyncio

    from reminders import settings as environment
    from reminders.budget import one_budget
    from reminders.temporal import SDK_EXIT_SECONDS
    from starter.assembly import assembled
    from starter.services.failures import understood

    async def asked() -> _T:
        try:
            async with assembled(environment.load()) as parts:
                # PostgreSQL may be long at work for a command; Temporal is asked for little.
                with one_budget("Temporal"):
                    return await question(parts)
        finally:
            await asyncio.sleep(SDK_EXIT_SECONDS)

    try:
        return asyncio.run(asked())
    except Exception as error:
        known = understood(error)
        if known is None:
            raise
        fail(known)


def fail(error: ReminderError) -> NoReturn:
    """One line on standard error, and the exit code that the error's kind stands for."""
    words = " ".join(str(error).split())
    if error.where_to_look is not None:
        words = f"{words.removesuffix('.')}; {error.where_to_look}."
    typer.echo(f"reminders: {words}", err=True)
    raise typer.Exit(error.exit_code)


_A = TypeVar("_A")
ACTOR = "cli"
"""Who acts, as the audit log says it."""
CHANGE_WAIT = timedelta(seconds=5)
"""How long a command waits for a session's change; a workflow goes on without it."""


class Group(TyperGroup):
    """Commands; looks at what was typed before any of them does."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's own
        """Refuse bytes that are no text in this terminal: nothing could store or look for them."""
        for argument in args:
            try:
                argument.encode()
            except UnicodeEncodeError:
                msg = f"{argument!a} is not UTF-8"
                raise typer.BadParameter(msg) from None
        for flag in self.get_params(ctx):
            # An absent flag is `None` to typer, which it validates by pydantic: that takes longer
            # than all of `--help`.
            flag.default = flag.default or False
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - typer's own
        """The command that was typed; shell completion reads its arguments without validating."""
        found = super().resolve_command(ctx, args)
        if ctx.resilient_parsing and found[1] is not None:
            for parameter in found[1].get_params(ctx):
                vars(parameter)["process_value"] = _as_typed
        return found


def _as_typed(_ctx: Any, value: Any) -> Any:  # noqa: ANN401 - typer's own
    return value


def parsed(kind: str) -> Callable[[str], Any]:
    """A parser of an option, with the words that the HTTP API has for what is wrong.

    Args:
        kind: Where the annotated type is, such as `starter.api.models:Instant`.
    """

    def parse(text: str) -> Any:  # noqa: ANN401 - what the type says
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(pkgutil.resolve_name(kind)).validate_python(text)
        except ValidationError as error:
            raise typer.BadParameter(error.errors()[0]["msg"]) from None

    return parse


def filtered(kind: Callable[..., _T], /, **given: Any) -> _T:  # noqa: ANN401 - what the filters take
    """Filters as the HTTP API has them, from what was typed.

    Raises:
        typer.BadParameter: In its words for what is wrong.
    """
    from pydantic import ValidationError

    try:
        return kind(**given)
    except ValidationError as error:
        wrong = error.errors()[0]
        msg = f"{wrong['loc'][0]}: {wrong['msg']}"
        raise typer.BadParameter(msg) from None


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command, each of whose parameters that is a dataclass stands for its fields.

    So that several commands take the same options, which are written down once.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}

    def called(**given: object) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{f.name: given.pop(f.name) for f in fields(kind)})
        command(**given)

    taken: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            taken.append(parameter.replace(annotation=hints[name]))
            continue
        annotations = get_type_hints(groups[name], include_extras=True)
        for inner, field in inspect.signature(groups[name]).parameters.items():
            taken.append(field.replace(annotation=annotations[inner]))
    update_wrapper(called, command)
    taken = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in taken]
    called.__signature__ = inspect.Signature(taken)  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in taken}
    return called


def instant(help: str) -> Any:  # noqa: A002, ANN401 - typer's own
    """An option that takes an instant."""
    return typer.Option(parser=parsed("starter.api.models:Instant"), metavar="INSTANT", help=help)


_REASON = typer.Option(
    "--reason",
    parser=parsed("starter.api.models:Reason"),
    metavar="TEXT",
    help="Why, for the audit log.",
)

Session = Annotated[UUID, typer.Argument(metavar="SESSION", help="Id of the session.")]
User = Annotated[UUID, typer.Argument(metavar="USER", help="Id of the user.")]
OnlySession = Annotated[
    UUID | None, typer.Option("--session", metavar="SESSION", help="Only for this session.")
]
Limit = Annotated[int, typer.Option(min=1, max=200, metavar="N", help="At most this many.")]
Cursor = Annotated[
    str | None, typer.Option(metavar="CURSOR", help="Where the previous page ended.")
]
Reason = Annotated[str | None, _REASON]
NeededReason = Annotated[str, _REASON]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
TellNobody = Annotated[
    bool, typer.Option("--tell-nobody", help="Send no notices of it, also where their rule is on.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count.")]


def by(reason: str | None) -> By:
    """Somebody at a terminal."""
    from reminders.db.audit import By

    return By(ACTOR, reason)


def only_counted(
    expected: Question[_A], question: Callable[[_A], str], *, dry_run: bool, yes: bool
) -> _A | None:
    """What a command would do, if that is all it is to say; otherwise leave to do it.

    On a terminal it asks; without one it demands `--yes`.

    Args:
        expected: Counts, and changes nothing.
        question: Made of these counts, for somebody who can answer it.
        dry_run: Whether `--dry-run` was said.
        yes: Whether `--yes` was said, or nothing needs to be asked.

    Returns:
        The counts with `--dry-run`; `None` if the command may go on.
    """
    if dry_run:
        return ask(expected)
    if yes:
        return None
    if not sys.stdin.isatty():
        typer.echo(
            "reminders: nobody is there to confirm; add --yes, or --dry-run to see", err=True
        )
        raise typer.Exit(ExitCode.USAGE)
    typer.confirm(question(ask(expected)), abort=True, err=True)
    return None


def show_named(
    question: Question[_A],
    table: Callable[[_A, Names], None],
    rows: Callable[[_A], Iterable[Any]],
    *,
    as_json: bool,
) -> _A:
    """Ask and show, with what its sessions and people are called in the table beside their ids.

    Args:
        question: Whose answer is shown.
        table: Prints it.
        rows: What in it has a `session_id`, a `user_id`, or both.
        as_json: Whether it is printed as JSON, which has no names.

    Returns:
        The answer.
    """

    async def asked(parts: Parts) -> tuple[_A, Names]:
        answer = await question(parts)
        found = tuple(rows(answer))
        sessions = (getattr(row, "session_id", None) for row in found)
        people = (getattr(row, "user_id", None) for row in found)
        names = await parts.browser.names(sessions, people)
        # What stands in a terminal ends up in tickets: an address in place of a name does not.
        called = {one: name for one, name in names.people.items() if "@" not in name}
        return answer, replace(names, people=called)

    answer, names = ask(asked)
    show(answer, lambda shown: table(shown, names), as_json=as_json)
    return answer


def show(answer: _A, table: Callable[[_A], None], *, as_json: bool) -> None:
    """Print an answer, a pydantic model or a dataclass, as JSON or as a table for people."""
    if as_json:
        from pydantic import TypeAdapter

        typer.echo(TypeAdapter(type(answer)).dump_json(answer, indent=2))
    else:
        table(answer)
