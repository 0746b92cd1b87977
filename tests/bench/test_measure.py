"""What the benchmarks measure with."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from bench import inbox, measure
from bench.__main__ import main


@pytest.mark.parametrize(
    ("percent", "value"), [(1, 1.0), (50, 2.0), (75, 3.0), (99, 4.0), (100, 4.0)]
)
def test_a_percentile_is_a_measured_value(percent: float, value: float) -> None:
    """Nearest rank: never between two measurements, whatever their order."""
    assert measure.percentile([3.0, 1.0, 4.0, 2.0], percent) == value


def test_medians_are_by_name_and_counts_stay_counts() -> None:
    """Each number has its own median; one that a run lacks has none."""
    runs: list[measure.Numbers] = [
        {"lag": 3.0, "lost": 0, "cpu": 1.0},
        {"lag": 1.5, "lost": 0, "cpu": None},
    ]
    found = measure.medians(runs)
    assert found == {"lag": 2.25, "lost": 0, "cpu": None}
    assert isinstance(found["lost"], int)


def test_a_report_ends_in_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A table with every run for people, then the medians for machines."""
    measure.report("Title", [{"lag_s": 1.25}, {"lag_s": 1.75}], {"bench": "herd"})
    *table, last = capsys.readouterr().out.splitlines()
    assert {"bench": "herd", "runs": 2, "lag_s": 1.5}.items() <= json.loads(last).items()
    assert any("1.25" in line and "1.75" in line for line in table)


def test_a_comparison_ends_in_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Every subject's medians; who lacks a number has none, and none is made up."""
    subjects: dict[str, list[measure.Numbers]] = {"ours": [{"a": 1, "b": 2}], "theirs": [{"a": 3}]}
    measure.compare("Title", subjects, {"bench": "herd"})
    *table, last = capsys.readouterr().out.splitlines()
    assert {"ours": {"a": 1, "b": 2}, "theirs": {"a": 3}} == json.loads(last)["subjects"]
    assert any("2" in line and "-" in line for line in table)


def test_arrivals_tell_lost_doubled_and_late() -> None:
    """Four were due: one came twice, one never, and a second copy is no delivery."""
    due_at = datetime(2026, 11, 20, 17, tzinfo=UTC)
    emails = [
        {"accepted_at": (due_at + timedelta(seconds=s)).isoformat()} for s in (0.5, 1.0, 1.5, 2.0)
    ]
    found = inbox.arrivals(emails, ["a", "b", "c", "a"], n=4, due_at=due_at)
    assert (1, 1) == (found["lost"], found["duplicates"])
    assert (0.5, 2.0, 1.5) == (
        found["first_lag_s"],
        found["last_lag_s"],
        found["emails_per_second"],
    )
    with pytest.raises(measure.MeasurementError, match="no e-mail"):
        inbox.arrivals([], [], n=4, due_at=due_at)


def test_without_a_name_the_benchmarks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """The list is an answer; a name that there is not is a mistake."""
    assert main([]) == 0
    assert "herd" in capsys.readouterr().out
    assert main(["hrd"]) == 2
