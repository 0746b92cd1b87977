"""`python3 dev.py demo`: the main job, end to end, in about a minute."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from devstack import up
from devstack.demo import scenario
from devstack.demo.board import Screen, ledger
from devstack.demo.platform import Platform
from devstack.demo.play import Play, Verdict
from devstack.process import EmbeddedServerError
from devstack.stack import LocalStack

INTERRUPTED = 130
"""A shell's exit code of what Ctrl-C ended."""

OPERATOR = "demo"
"""Who signs in to the admin pages."""

INTRODUCTION = (
    "[bold]Session reminders: the main job, in real time, in about a minute.[/]\n\n"
    "People enroll in sessions. Each enrollment becomes a durable workflow that sleeps until a "
    "reminder is due, has the e-mail sent, and ends. All of it is real and runs on this machine: "
    "PostgreSQL, Temporal, a worker, the HTTP API. Only Resend is a stand-in, with an inbox that "
    "you can open. The sessions are placed so that their reminders fall due within seconds.\n"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the demo.

    Returns:
        Exit code: 0 only if exactly the expected e-mails arrived, 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    console = Console(highlight=False)
    up.interruptible()
    key = f"demo-{secrets.token_urlsafe(12)}"
    stack = LocalStack(fixed_ports=True, settings=settings(key))
    verdict: Verdict | None = None
    console.print(INTRODUCTION)
    up.name_ignored(console)
    began = time.monotonic()
    try:
        with (
            up.running(console, stack),
            Platform(stack.api_url, key, stack.provider.url) as platform,
        ):
            verdict = _play(console, stack, platform, key)
            seconds = time.monotonic() - began
            _pronounce(console, verdict, seconds)
            if options.keep:
                with up.exported(stack.folder, stack.exports()) as variables:
                    _point(console, stack, platform, key, variables)
                    up.watch(stack)
            console.print(
                "\nTo look around in the inbox, the admin pages and the Temporal UI, leave everything"
                " up:\n  [bold]python3 dev.py demo --keep[/]"
            )
    except EmbeddedServerError as error:
        up.failure(console, error)
        return 1
    except KeyboardInterrupt:
        console.print("\nStopped.")
        if verdict is None:
            return INTERRUPTED
    return 0 if verdict.is_good else 1


def settings(key: str) -> dict[str, str]:
    """How the demo's programs are configured beyond what any local stack is.

    Args:
        key: The one secret of this demo: key of the API, and password of the admin pages.
    """
    return {
        # Attendees get their own e-mails, which is what the inbox is to show. They end there.
        "DELIVERY_MODE": "live",
        "API_KEYS": key,
        "ADMIN_USERNAME": OPERATOR,
        "ADMIN_PASSWORD": key,
    }


def _play(console: Console, stack: LocalStack, platform: Platform, key: str) -> Verdict:
    """Show the links and play.

    Raises:
        EmbeddedServerError: If a part dies, or an answer is not what it should be.
    """
    console.print(Panel(_links(stack, key), title="Open these while it plays", expand=False))
    with Screen(console) as screen:
        play = Play(screen, stack, platform)
        verdict = play.play()
    console.print("\n[bold]The ledger[/], as GET /v1/reminders has it\n")
    console.print(ledger(play.scene()))
    console.print()
    return verdict


def _pronounce(console: Console, verdict: Verdict, seconds: float) -> None:
    """Say whether it was as it should be."""
    for claim, holds in verdict.claims.items():
        console.print(f"[green]✓[/] {claim}" if holds else f"[bold red]✗ not true: {claim}[/]")
    total = verdict.expected.total()
    if verdict.is_good:
        console.print(
            f"[bold green]✓ All {total} expected e-mails arrived, once each, and nothing else.[/]"
            f" [dim]{seconds:.0f} s in all[/]"
        )
        return
    for label, mails in (("missing", verdict.missing), ("unexpected", verdict.unexpected)):
        for mail, count in sorted(mails.items()):
            console.print(f"[red]{label:10} {count} x  {escape(str(mail))}[/]", soft_wrap=True)
    console.print(
        f"[bold red]✗ Of {total} expected e-mails {verdict.missing.total()} did not arrive, "
        f"{verdict.unexpected.total()} arrived that were not expected.[/]"
    )


def _links(stack: LocalStack, key: str) -> Table:
    """Where to look, and how to get in."""
    table = up.links(stack)
    table.add_row("Sign in", OPERATOR, "name for the admin pages")
    table.add_row("", key, "password there, and API key")
    return table


def _point(
    console: Console, stack: LocalStack, platform: Platform, key: str, variables: Path
) -> None:
    """Say where to look closer, and how to use the commands."""
    console.print(Panel(_links(stack, key), title="Everything stays up", expand=False))
    console.print("\nIn another terminal, for `reminders`, `temporal` and the like:")
    console.print(f"  [bold]{up.use(variables)}[/]", soft_wrap=True)
    for words, whom in (
        ("whose reminder was sent", scenario.REPEATED),
        ("cancelled by hand", scenario.CANCELLED),
        ("still asleep", (scenario.LARS, scenario.ROUNDS)),
    ):
        console.print(f"\n[bold]{whom[0].name}[/]'s workflow, {words}:")
        console.print(platform.workflow(*whom)["url"], style="cyan", soft_wrap=True, markup=False)
    console.print("\nCtrl-C stops everything.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dev.py demo", description="Play the main job end to end, in about a minute."
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave everything up afterwards, until Ctrl-C"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
