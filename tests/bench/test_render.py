"""The benchmark of rendering runs, and says what it measured."""

from __future__ import annotations

import json

import pytest

from bench.__main__ import main


def test_rendering_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """The last line is JSON for machines; inlining each e-mail would be slower."""
    assert main(["render", "--n", "100", "--runs", "1"]) == 0
    numbers = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert numbers["benchmark"] == "render"
    assert numbers["emails_per_cpu_second"] > numbers["inlining_each_per_cpu_second"] > 0
