"""The page on costs adds up."""

from __future__ import annotations

from pathlib import Path

PAGE = (Path(__file__).parents[1] / "docs" / "cost.md").read_text(encoding="utf-8")
ENROLLMENTS = 1_000_000
ACTIONS = 7  # measured: tests/workflows/test_history.py
SWEEPS = 30 * 24 * 4 * (3 + 7)
PER_MILLION = 50.0
HOURS = 744  # Temporal Cloud's month
AHEAD = 14 / 30


def shown(amount: float) -> str:
    """As the page writes money."""
    return f"${round(amount):,}"


def test_the_amounts_follow_from_counts_and_prices() -> None:
    """Every amount of the page, computed from what is measured and what is assumed."""
    actions = ENROLLMENTS * ACTIONS + SWEEPS
    assert f"{actions:,} actions a month" in PAGE
    opened = ENROLLMENTS * AHEAD * 2.5e3 / 1e9
    closed = ENROLLMENTS * 5e3 / 1e9
    bill = {
        "actions": actions / 1e6 * PER_MILLION,
        "open": opened * HOURS * 0.042,
        "closed": closed * HOURS * 0.00105,
    }
    plan = sum(bill.values()) / 10
    business = (actions - 2_500_000) / 1e6 * PER_MILLION
    assert f"| actions | {shown(bill['actions'])} | {shown(business)} |" in PAGE
    assert f"open histories: {opened:.2f} GB | {shown(bill['open'])} |" in PAGE
    assert f"30 days: {closed:.0f} GB | {shown(bill['closed'])} |" in PAGE
    assert f"| plan | 10 %: {shown(plan)} | $500 |" in PAGE
    total, with_business = shown(sum(bill.values()) + plan), shown(business + 500)
    assert f"| **a month** | **{total}** | **{with_business}** |" in PAGE
    assert f"**{shown(3 * 70)} a month**" in PAGE
    runs = ENROLLMENTS * (1 + 3)
    assert f"{runs:,} runs are **{shown((runs - 50_000) / 1000 * 0.01)} a month**" in PAGE
    assert round(30 * 24 * 3600 / ENROLLMENTS, 1) == 2.6
