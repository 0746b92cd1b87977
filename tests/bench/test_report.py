"""docs/performance.md says what was measured, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench.__main__ import BENCHMARKS, main
from bench.peers import catalogue
from bench.report import document, extrapolation, results
from bench.report.goals import GOALS, _beside_poller
from bench.report.plots import bars
from bench.report.results import ENTRIES, FORMS, Result
from bench.report.sections import SECTIONS


def found(**lines: Mapping[str, Any]) -> dict[str, Result]:
    """Results as they would be read."""
    return {name: Result.of("herd", "full", line) for name, line in lines.items()}


def test_who_is_not_done_in_time_is_not_the_fastest() -> None:
    """A peer that gave up on some early counts as long as it was waited for; one that batches, not."""
    (goal,) = (goal for goal in GOALS if goal.part == "peers")
    subjects = {
        "session-reminders": {"last_lag_s": 3.0, "lost": 0},
        "poller": {"last_lag_s": 0.5, "lost": 0},
        "celery": {"last_lag_s": 8.0, "lost": 7},
        "cron": {"last_lag_s": 90.0, "lost": 0},
    }
    line = {"patience": 60.0, "subjects": subjects}
    assert 20 == goal.value(line)
    subjects["celery"]["lost"] = 0
    assert 8 / 3 == goal.value(line)


@pytest.mark.parametrize("part", ["herd", "hundreds"])
def test_ours_are_compared_with_a_poller_of_the_same_run(part: str) -> None:
    """Where it was left out, nothing is said of it."""
    goal = next(g for g in GOALS if g.part == part and g.value is _beside_poller)
    subjects = {"session-reminders": {"last_lag_s": 1.8}, "poller": {"last_lag_s": 1.5}}
    assert 1.2 == goal.value({"subjects": subjects})
    del subjects["poller"]
    assert goal.value({"subjects": subjects}) is None


def test_the_document_is_what_the_results_say() -> None:
    """Words, tables and pictures are written from bench/results/, whoever wrote them last."""
    assert [] == document.outdated(), "run: python3 dev.py bench report --write"


def test_every_part_is_measured_told_and_judged_by_a_name_there_is() -> None:
    """A misspelt part would silently be missing from the document."""
    names = [entry.name for entry in ENTRIES]
    assert set(names) == {section.part for section in SECTIONS}
    assert {goal.part for goal in GOALS} <= set(names)
    for entry in ENTRIES:
        for form in FORMS:
            assert entry.command(form).split()[0] in BENCHMARKS


def test_a_goal_is_reached_missed_or_not_measured() -> None:
    """Each shows its figure; nothing is claimed of what nobody measured."""
    last = next(goal for goal in GOALS if goal.part == "lag")
    assert ("50 ms", True) == last.measured(found(lag={"p50_ms": 50.0}))
    assert ("61 ms", False) == last.measured(found(lag={"p50_ms": 61.0}))
    assert ("not measured", None) == last.measured({})


@pytest.mark.parametrize(
    ("n", "last", "times"), [(100, 0.02, 1), (1000, 0.04, 2), (2000, 1.53, 1.5)]
)
def test_what_a_crowd_takes_is_compared_with_the_provider(
    n: int, last: float, times: float
) -> None:
    """Ten requests in each second, and an answer after 20 ms: 2,000 take 1.02 s at best."""
    beside = next(goal for goal in GOALS if goal.part == "herd")
    assert times == beside.value({"n": n, "rate": 10, "last_lag_s": last})


def test_what_larger_numbers_cost_is_arithmetic() -> None:
    """36 ms of CPU for each of three million reminders are thirty hours."""
    line = {"cpu_ms_per_reminder": 36.0, "floor_per_second": 250.0}
    rows = {row[0]: row[1] for row in extrapolation.rows(found(unlimited=line))}
    cpu, posting, last = rows.values()
    assert cpu.startswith("30 core hours")
    assert "50 s" == posting, "500 requests, 10 a second"
    assert "50 s" == last, "50,000 wake at 250 a second in 200 s: within the lead-in"


def test_small_and_busy_runs_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody quotes a figure from a trial run, or from a machine that did something else."""
    line = {"runs": 1, "n": 5, "p50_ms": 1.0, "p99_ms": 1.0, "max_ms": 1.0, "lost": 0, "load": 99.0}
    quick = Result.of("lag --n 5", "quick", line)
    full = Result.of("history", "full", {"runs": 1, "events": 38, "billable_actions": 7})
    monkeypatch.setattr(results, "read", lambda: {"lag": quick, "history": full})
    text = document.documents()[document.DOCUMENT]
    assert "only to see that it works: lag." in text
    assert "busy with other things: lag." in text
    assert "| Lag when idle, p50 | 60 ms | 1 ms | too small to tell |" in text
    assert "| Events of three reminders | 38 | 38 | yes |" in text


def test_a_picture_is_well_formed_and_drawn_to_scale() -> None:
    """Bars are as long as their values, whatever the labels hold."""
    drawn = ET.fromstring(bars("Time & more", {"ours": 1.0, "a<b": 4.0}, unit="s", ours="ours"))
    space = "{http://www.w3.org/2000/svg}"
    assert "Time & more" == drawn.findtext(f"{space}title")
    _, ours, other = drawn.iter(f"{space}rect")
    assert ("ours", "other") == (ours.get("class"), other.get("class"))
    assert float(other.get("width", 0)) == pytest.approx(4 * float(ours.get("width", 0)), abs=0.5)


def test_unknown_parts_and_peers_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With the names there are, before anything is started."""
    for arguments, wrong in (
        (["report", "--only", "hrd"], "hrd"),
        (["herd", "--peers", "kron"], "kron"),
        (["sleep", "--n", "9", "--then", "3"], "--then"),
        (["lag", "--n", "0"], "at least 1"),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert wrong in capsys.readouterr().err


def test_a_peer_that_is_not_installed_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are measured, and one is told how it can be had."""
    from bench import herd  # noqa: PLC0415 - its private part, and nothing else of it

    absent = catalogue.Peer(what="is not there", needs=("no_such_library",))
    monkeypatch.setitem(catalogue.PEERS, "absent", absent)
    assert ["cron"] == herd._installed(["cron", "absent"])
    told = capsys.readouterr().err
    assert "no_such_library" in told
    assert catalogue.INSTALL in told
