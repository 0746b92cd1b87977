"""An operator's folder of templates: overrides ours by name, and is looked at before it is used."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment

from reminders.domain.errors import ConfigurationError
from reminders.mail.render import MailRenderer
from reminders.mail.templating import OURS
from tests.reminders.mail.cases import mail


def write(folder: Path, **files: str) -> Path:
    """A folder with these templates; `body_html` is `session_reminder/body.html`."""
    names = {
        "body_html": "session_reminder/body.html",
        "body_txt": "session_reminder/body.txt",
        "subject_txt": "session_reminder/subject.txt",
        "layout_html": "_base/layout.html",
        "style_css": "_base/style.css",
    }
    for key, content in files.items():
        path = folder / names[key]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder


def test_a_template_replaces_ours_by_name(tmp_path: Path) -> None:
    """What the folder has is theirs, and everything else stays ours."""
    write(tmp_path, body_txt="{{ mail.title }}, {{ mail.when.hours }}\n")
    theirs, ours = mail(renderer=MailRenderer(templates=tmp_path)), mail()
    assert theirs.text == "Managing Atrial Fibrillation: what's new & why, 15:00\N{EN DASH}16:30\n"
    assert (theirs.subject, theirs.html) == (ours.subject, ours.html)


def test_a_template_may_build_on_the_one_it_replaces(tmp_path: Path) -> None:
    """Ours is still there under another name, so a changed block needs no copy of the rest."""
    write(
        tmp_path,
        body_html=(
            '{% extends "ours/session_reminder/body.html" %}\n'
            "{% block preheader %}Dr. {{ mail.speaker }} awaits you{% endblock %}\n"
        ),
    )
    html = mail(renderer=MailRenderer(templates=tmp_path)).html
    assert "Dr. Dr. Inês Carvalho awaits you" in html
    assert "<h1" in html


def test_the_style_sheet_alone_may_be_replaced(tmp_path: Path) -> None:
    """A designer changes rules, and the rules are in the attributes of every e-mail."""
    css = (OURS / "_base" / "style.css").read_text(encoding="utf-8")
    write(tmp_path, style_css=css + ".title { font-family: Georgia; color: {{ light.accent }}; }")
    html = mail(timedelta(minutes=10), renderer=MailRenderer(templates=tmp_path)).html
    title = re.search(r"<h1[^>]*>", html)
    assert title is not None
    assert "font-family: Georgia" in title[0]
    assert "color: #b3261e" in title[0]


def test_logic_of_a_template_survives_inlining(tmp_path: Path) -> None:
    """Loops around rows, conditions in attributes, remarks and Outlook's asides stay in place."""
    write(
        tmp_path,
        layout_html=(
            '<html lang="{{ mail.language }}"><head><title>{{ mail.title }}</title></head><body>'
            "{# <td> #}<!--[if mso]><td>{{ mail.day }}<![endif]-->"
            "{% block content %}{% endblock %}</body></html>"
        ),
        body_html=(
            '{% extends "_base/layout.html" %}{% block content %}'
            '<table class="{{ "ink" if 1 > 0 else "muted" }}"><tbody>'
            "{% for label, value in mail.details %}<tr><td>{{ label }}: {{ value }}</td></tr>"
            "{% endfor %}</tbody></table>{% endblock %}"
        ),
    )
    html = mail(renderer=MailRenderer(templates=tmp_path)).html
    assert "<tr><td>Speaker: Dr. Inês Carvalho</td></tr><tr><td>Location:" in html
    assert '<table class="ink"' in html
    assert "<!--[if mso]><td>1<![endif]-->" in html


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (
            {"body_txt": "{{ mail.title }}\n{{ mail.titel }}\n"},
            r"session_reminder/body\.txt, line 2: .*'titel'",
        ),
        (
            {"body_html": "<p>\n{{ mail.when.hour }}</p>\n"},
            r"session_reminder/body\.html, line 2: .*'hour'",
        ),
        (
            {"body_html": "<p>{% if mail.moved_from %}\n\n{{ nothing }}{% endif %}</p>"},
            r"session_reminder/body\.html, line 3: 'nothing' is undefined",
        ),
        (
            {"subject_txt": "\n{{ mail.title"},
            r"session_reminder/subject\.txt, line 2: ",
        ),
        (
            {"body_html": "<p>{% if mail.title %}</p>"},
            r"session_reminder/body\.html, line 1: .*'endif'",
        ),
        (
            {"body_html": '{% extends "_base/layuot.html" %}'},
            r"session_reminder/body\.html, line 1: .*_base/layuot\.html",
        ),
        (
            {"body_html": "<table>\n<tr>\n{{ mail.title }}<td>x</td></tr></table>"},
            r"session_reminder/body\.html, line 1: the HTML is not well nested .* <table>$",
        ),
        (
            {"body_html": "<div>\n<p>\n{{ mail.title }}\n</div>"},
            r"session_reminder/body\.html, line 4: .* not closed at </div>$",
        ),
        (
            {"style_css": ".ink {\n color: {{ light.inc }} }"},
            r"_base/style\.css, line 2: .*'inc'",
        ),
    ],
)
def test_what_would_fail_when_due_is_refused_at_the_start(
    tmp_path: Path, files: dict[str, str], problem: str
) -> None:
    """Every branch is tried with a sample; the error names file and line."""
    with pytest.raises(ConfigurationError, match=problem):
        MailRenderer(templates=write(tmp_path, **files))


def test_a_folder_that_changes_nothing_is_a_mistake(tmp_path: Path) -> None:
    """A misspelt name is not passed over in silence: the error lists the right ones."""
    (tmp_path / "sesion_reminder").mkdir()
    (tmp_path / "sesion_reminder" / "body.html").write_text("x")
    with pytest.raises(ConfigurationError, match=r"none of .* session_reminder/body\.html"):
        MailRenderer(templates=tmp_path)


def test_a_folder_that_does_not_exist_is_a_mistake(tmp_path: Path) -> None:
    """The error names it."""
    with pytest.raises(ConfigurationError, match=r"does not exist: .*/nowhere"):
        MailRenderer(templates=tmp_path / "nowhere")


def test_a_template_that_was_edited_is_compiled_anew(tmp_path: Path) -> None:
    """What a process has compiled before is used again only for the same source."""
    for words in ("at noon", "at midnight", "at noon"):
        write(tmp_path, body_txt=f"{{{{ mail.title }}}} {words}\n")
        assert mail(renderer=MailRenderer(templates=tmp_path)).text.endswith(f" {words}\n")


def test_a_template_is_compiled_once_for_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rehearsal makes a composer anew while the API answers: it finds everything compiled."""
    mail(renderer=MailRenderer())
    compiled: list[Any] = []
    monkeypatch.setattr(Environment, "_compile", lambda _self, *source: compiled.append(source))
    assert mail(renderer=MailRenderer()).text
    assert [] == compiled
