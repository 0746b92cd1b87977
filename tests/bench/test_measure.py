"""What the benchmarks measure with."""

from __future__ import annotations

import json
import os
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


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], 0), ([1.0], 101)])
def test_a_percentile_of_nothing_is_refused(values: list[float], percent: float) -> None:
    """No number is made up."""
    with pytest.raises(ValueError, match="percentile"):
        measure.percentile(values, percent)


def test_medians_are_by_name_and_counts_stay_counts() -> None:
    """Each number has its own median; one that a run lacks has none."""
    runs: list[measure.Numbers] = [
        {"lag": 3.0, "lost": 0, "cpu": 1.0},
        {"lag": 1.5, "lost": 0, "cpu": None},
    ]
    found = measure.medians(runs)
    assert found == {"lag": 2.25, "lost": 0, "cpu": None}
    assert isinstance(found["lost"], int)


def test_repeats_leave_out_the_first_of_each() -> None:
    """Three of the same are two too many."""
    assert measure.repeats("abracadabra") == 6
    assert measure.repeats([]) == 0


def test_the_cpu_of_a_tree_is_of_all_below() -> None:
    """Grandchildren count, strangers do not, and who is gone used nothing."""
    processes = measure.Processes(
        parents={2: 1, 3: 2, 4: 3, 5: 1}, seconds={1: 8.0, 2: 1.0, 3: 0.5, 4: 0.25, 5: 4.0}
    )
    assert processes.tree(2) == 1.75
    assert processes.tree(99) == 0


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")  # noqa: PTH110
def test_our_own_cpu_is_found() -> None:
    """This process has used some by now; one that does not run is left out."""
    used = measure.cpu_used({"us": os.getpid(), "nobody": None})
    assert used.keys() == {"us"}
    assert used["us"] > 0


def test_cpu_is_told_per_thing() -> None:
    """Milliseconds of all parts together, for each; nothing where nothing could be measured."""
    assert measure.cpu_ms({"a": 1.0, "b": 2.0}, {"a": 1.5, "b": 2.5, "c": 9.0}, 100) == 10
    assert measure.cpu_ms({}, {}, 100) is None
    assert measure.cpu_ms({"a": 1.0}, {}, 100) is None


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


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="needs /proc")  # noqa: PTH110
def test_our_own_memory_is_found() -> None:
    """A Python with a test runner takes tens of megabytes; what does not run takes none."""
    assert 10 < (measure.memory_mb(os.getpid()) or 0) < 10_000
    assert measure.memory_mb(None) is None


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
