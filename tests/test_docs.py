"""The documents tell the truth: what they name exists, and what exists is named."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import pytest
from typer.main import get_command

from docs import generate
from reminders.domain.model import ReminderStatus, StatusReason
from reminders.settings import Settings
from starter.cli import main as cli

ROOT = Path(__file__).resolve().parents[1]
SKIPPED = {".uv", ".venv", ".git", ".data", "__pycache__", "histories", "node_modules"}
"""Folders that hold nothing written by hand; of those with a dot, only `.ci` does."""


def documents(folder: Path) -> Iterator[Path]:
    """Those in a folder, whatever is installed in it left aside."""
    for path in folder.iterdir():
        if path.name in SKIPPED or path.name.startswith("."):
            continue
        if path.is_dir():
            yield from documents(path)
        elif path.suffix == ".md":
            yield path


DOCUMENTS = sorted(documents(ROOT))
FOLDERS = ("activities", "reminders", "starter", "tests", "workflows")
"""Their READMEs name every module."""
MANY = 10
"""More modules than that need a README, in whatever folder."""
BY_NOUN = {"starter/api", "starter/cli"}
NO_ROOMS = ("reminders/db/migrations",)
"""Folders whose files say by their numbers what they are."""
GENERATED = {"cli.md", "configuration.md", "performance.md"}
"""Their words are the code's."""
TRANSLATED = re.compile(
    r"\b(?:is at it|still at it|whose\.|(?:so|as) many at once|e-mail a person|mend(?:s|ed|ing)?"
    r"|the wish of|held after all|holds? (?:it|them|a \w+ session|a session) after all|deeds?)(?!\w)",
    re.IGNORECASE,
)
"""Phrases that nobody who writes English would use."""
SAYS_ITSELF = {
    "EMAIL_INITIAL_BACKOFF_MS",
    "EMAIL_MAX_BACKOFF_MS",
    "EMAIL_BACKOFF_MULTIPLIER",
    "LOG_LEVEL",
}
"""Settings without a sentence of their own."""
SECTIONS = ["Status", "Context", "Decision", "Options considered", "Consequences"]
ENDS = {"skipped", "cancelled", "failed"}


def name_of(path: Path) -> str:
    """A file, as a test's id."""
    return str(path.relative_to(ROOT))


def load_dev() -> Any:
    """dev.py, as a module."""
    spec = importlib.util.spec_from_file_location("dev_for_docs", ROOT / "dev.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------- generated


def test_generated_documents_are_up_to_date() -> None:
    """They are what `python -m docs.generate` would write."""
    assert [] == generate.outdated(), "run: python -m docs.generate"


def test_every_setting_says_what_it_is() -> None:
    """Each has a group, and a sentence below it; those that need none are known by name."""
    assert set(Settings.model_fields) == {s.name.lower() for s in generate.settings()}
    assert [] == [s.name for s in generate.settings() if not s.group]
    silent = {s.name for s in generate.settings() if not s.meaning}
    assert silent == SAYS_ITSELF, "write a docstring below the field in reminders/settings.py"


def test_the_example_of_an_env_file_holds_the_defaults(tmp_path: Path) -> None:
    """With every line uncommented it is accepted, and changes nothing."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    lines = re.findall(r"(?m)^#([A-Z_]+=.*)$", text)
    file = tmp_path / ".env"
    file.write_text("\n".join(lines), encoding="utf-8")
    assert len(Settings.model_fields) == len(lines)
    assert Settings() == Settings(_env_file=file)


# ---------------------------------------------------------------- commands


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / ".ci" / "run"], ids=name_of)
def test_every_verb_of_dev_py_that_is_named_exists(document: Path) -> None:
    """`python3 dev.py VERB` and the steps of `.ci/run` are verbs."""
    text = document.read_text(encoding="utf-8")
    named = set(re.findall(r"(?:python3 |`)dev\.py ([a-z]+)", text)) | set(
        re.findall(r"(?m)^ *step (\w+)", text)
    )
    assert set() == named - set(load_dev().VERBS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_command_of_ours_that_is_named_exists(document: Path) -> None:
    """What follows `reminders` in a command is one of its commands."""
    known = set(cast("Any", get_command(cli.app)).commands)
    named = re.findall(r"`reminders ([a-z][a-z-]*)", document.read_text(encoding="utf-8"))
    assert set() == set(named) - known


def test_every_option_that_is_shown_exists() -> None:
    """Each `$ reminders ...` of a guide is a whole command, with options that it has."""
    known = generate.commands()
    shown = [
        (name_of(document), line.replace("\\\n", " ").partition(" #")[0])
        for document in DOCUMENTS
        for line in re.findall(r"(?m)^ *\$ reminders ((?:[^\n]*\\\n)*[^\n]*)", document.read_text())
    ]
    assert len(shown) > 30
    for where, line in shown:
        words = line.split()
        name = next((w for w in (" ".join(words[:2]), words[0]) if w in known), None)
        if name is None:  # of the whole program, such as `--help`
            assert words[0].startswith("-"), (where, line)
            continue
        options = {option for p in known[name].params for option in (*p.opts, *p.secondary_opts)}
        asked = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert asked <= {*options, "--help"}, (where, line)


def test_every_command_that_prints_something_has_json() -> None:
    """All but those that run until they are stopped."""
    silent = {
        words
        for words, command in generate.commands().items()
        if not any("--json" in parameter.opts for parameter in command.params)
    }
    assert {"worker", "api"} == silent


def temporal_commands() -> Iterator[str]:
    """Every `temporal ...` of the README, without what is explained behind it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("$ temporal "):
            yield line.removeprefix("$ ").partition(" # ")[0].strip()
    yield from re.findall(r"\| `(temporal [^`]+)` \|", text)


@pytest.mark.parametrize("command", sorted(set(temporal_commands())))
def test_the_temporal_command_understands_what_we_show(command: str) -> None:
    """Every sub-command and flag exists in the version that we bring along."""
    temporal = str(Path(sys.executable).with_name("temporal"))
    words = [temporal, *shlex.split(command)[1:], "--help"]
    told = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_module_that_is_named_can_be_run(document: Path) -> None:
    """`python -m MODULE` names a module of ours that does something when it is run."""
    for module in re.findall(r"python -m ((?:docs|tests|reminders)[\w.]*)", document.read_text()):
        file = ROOT.joinpath(*module.split(".")).with_suffix(".py")
        assert "__main__" in file.read_text(encoding="utf-8"), module


def test_ci_can_be_run() -> None:
    """`.ci/run` is executable."""
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


# ---------------------------------------------------------------- words


def meanings(enumeration: type[StrEnum]) -> dict[str, str]:
    """The docstring below each member, on one line, by the member's value."""
    source = textwrap.dedent(inspect.getsource(enumeration))
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for member, text in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(member, ast.Assign) and isinstance(text, ast.Expr):
            value, words = ast.literal_eval(member.value), ast.literal_eval(text.value)
            found[value] = " ".join(words.split())
    return found


def rows(document: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without backticks."""
    text = (ROOT / document).read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[c.strip().replace("`", "") for c in line.strip("|").split("|")] for line in table]


def test_every_status_is_in_the_lifecycle_in_its_own_words() -> None:
    """The table repeats the docstrings, word by word."""
    table = {row[0]: row[1] for row in rows("docs/lifecycle.md", "Statuses")}
    assert {str(status) for status in ReminderStatus} == set(table)
    assert meanings(ReminderStatus) == {name: text.replace("`", "") for name, text in table.items()}


def test_every_arrow_of_the_lifecycle_is_between_statuses() -> None:
    """From every waiting one, and from what was given up or called off: it may be accepted, or wanted."""
    arrows = [(row[0], row[1]) for row in rows("docs/lifecycle.md", "Arrows")]
    known = {str(status) for status in ReminderStatus}
    assert {to for _, to in arrows} <= known
    assert {source for source, _ in arrows} == {
        "–",  # noqa: RUF001 - a dash, for a row that does not exist yet
        *(str(s) for s in ReminderStatus if s.is_pending),
        str(ReminderStatus.FAILED),
        str(ReminderStatus.CANCELLED),
    }


def test_every_reason_is_in_the_lifecycle() -> None:
    """Each has its row, under a status that ends without an e-mail."""
    table = {row[0]: row[1] for row in rows("docs/lifecycle.md", "Reasons")}
    assert {str(reason) for reason in StatusReason} == set(table) == set(meanings(StatusReason))
    assert set(table.values()) <= ENDS


def test_the_glossary_has_each_word_once() -> None:
    """In alphabetical order, so that it is found."""
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    words = re.findall(r"(?m)^\| \*\*([^*]+)\*\*", text)
    assert sorted(set(words)) == words


# ---------------------------------------------------------------- files


def test_every_decision_is_in_the_index_and_complete() -> None:
    """One row for each record, with its title; each record has all sections, in order."""
    folder = ROOT / "docs" / "adr"
    index = dict(
        re.findall(
            r"\| \[\d{4}\]\(([\w.-]+)\) \| (.+) \| \w+ \|",
            (folder / "README.md").read_text(encoding="utf-8"),
        )
    )
    records = sorted(folder.glob("0*.md"))
    assert [record.name for record in records] == list(index)
    for record in records:
        text = record.read_text(encoding="utf-8")
        assert text.startswith(f"# {record.name[:4]}. {index[record.name]}\n")
        assert re.findall(r"(?m)^## (.+)$", text) == SECTIONS, record.name


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_says_when_to_touch_it(folder: str) -> None:
    """Its README is short, opens with the answer, and names every module that is there."""
    text = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {folder}/\n\nTouch this folder ")
    assert len(text.splitlines()) < 30
    named = set(re.findall(r"`([\w.]+\.(?:py|json))`", text))
    present = {path.name for path in (ROOT / folder).glob("*.py")} - {"__init__.py"}
    assert {name for name in named if not (ROOT / folder / name).exists()} <= {"worker.py"}
    if folder != "tests":
        assert present <= named, f"{folder}/README.md does not name them"


def rooms() -> list[str]:
    """Folders whose README says when to touch them: those with many modules, and a few more."""
    many = {
        str(folder.relative_to(ROOT))
        for top in ("activities", "devstack", "reminders", "starter", "workflows")
        for folder in [ROOT / top, *(ROOT / top).rglob("*/")]
        if len([file for file in folder.glob("*.py") if file.name != "__init__.py"]) > MANY
    }
    named = {"workflows", "activities", "starter/services", "starter/admin"}
    named |= {"reminders/db", "reminders/mail"}
    return sorted(r for r in many | named if not r.startswith(NO_ROOMS))


@pytest.mark.parametrize("room", rooms())
def test_a_room_says_when_to_touch_it(room: str) -> None:
    """In under 30 lines; it opens with when, says where to go otherwise, and names what is there.

    Where a room has a module for each noun (the API, the commands) the nouns need no names.
    """
    text = (ROOT / room / "README.md").read_text(encoding="utf-8")
    opening = text.removeprefix(f"# {room}/\n\n").partition("\n\n")[0]
    assert opening.startswith("Touch this folder when ")
    assert "otherwise see " in " ".join(opening.split())
    assert len(text.splitlines()) < 30
    for name in re.findall(r"`([\w./]+\.py)`", text):
        assert any((base / name).exists() for base in (ROOT / room, ROOT)), name
    if room not in BY_NOUN:
        present = {path.name for path in (ROOT / room).glob("[!_]*.py")}
        assert {name for name in present if f"`{name}`" not in text} == set()


@pytest.mark.parametrize(
    "document",
    [d for d in DOCUMENTS if d.parent.name != "adr" and d.name != "CHANGELOG.md"],
    ids=name_of,
)
def test_every_file_that_is_named_exists(document: Path) -> None:
    """A path with a folder in it leads from the top, the document's folder or `tests/`."""
    text = document.read_text(encoding="utf-8")
    for path in set(re.findall(r"`((?:[\w.-]+/)+[\w-]+\.(?:py|sql|yml|json|html))\b", text)):
        bases = (ROOT, document.parent, ROOT / "tests", ROOT / "reminders" / "mail" / "templates")
        assert any((base / path).exists() for base in bases), path


@pytest.mark.parametrize(
    "document", [d for d in DOCUMENTS if d.name not in GENERATED | {"CHANGELOG.md"}], ids=name_of
)
def test_no_document_reads_as_translated(document: Path) -> None:
    """Each is written in plain English."""
    text = " ".join(document.read_text(encoding="utf-8").split())
    assert [] == [match.group() for match in TRANSLATED.finditer(text)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    """Every link within the project has its file, and its heading."""
    text = re.sub(r"(?s)```.*?```", "", document.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, heading = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        if heading:
            assert heading in anchors(file), target


def anchors(document: Path) -> set[str]:
    """What a link can name in a document, as GitHub makes it of the headings."""
    headings = re.findall(r"(?m)^#+ (.+)$", document.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def written_by_hand() -> Iterator[Path]:
    """The project's text files."""
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        if any(p in SKIPPED or (p.startswith(".") and p != ".ci") for p in parts[:-1]):
            continue
        # In a worktree of git, `.git` is a file that says where the repository is.
        if path.is_file() and path.name != ".git" and path.suffix not in {".png", ".pyc", ".lock"}:
            yield path


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    """No path of somebody's home or workplace is in any file; an image's own user has one there."""
    homes = re.compile(rb"/(?:root|work|home/(?!temporal/)\w+|Users/\w+)/[\w.]")
    found = [name_of(path) for path in written_by_hand() if homes.search(path.read_bytes())]
    assert [] == found
