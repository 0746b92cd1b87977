"""What browsers load: from here alone, and what it says it is."""

from __future__ import annotations

import re
from hashlib import sha256

import pytest

from starter.admin.rendering import STATIC, TEMPLATES
from tests.starter.conftest import Api

_SUM = re.compile(r"^([0-9a-f]{64})  (\S+)$", re.MULTILINE)


def test_what_others_made_is_what_they_published() -> None:
    """Nobody has touched it: the sums in the README are those of the packages."""
    sums = _SUM.findall((STATIC / "README.md").read_text())
    assert len(sums) >= 3
    for expected, name in sums:
        assert expected == sha256((STATIC / name).read_bytes()).hexdigest(), name


def test_nothing_of_ours_asks_another_host_or_runs_inline() -> None:
    """The admin pages name no other host, no inline script and no inline style."""
    ours = [*TEMPLATES.iterdir(), *(STATIC / "admin").iterdir()]
    assert len(ours) > 10
    for file in ours:
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(?:src|href|url)\s*[=(]\s*[\"']?(?:https?:)?//", text), file
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", text), file


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/static/htmx/htmx.min.js", "javascript"),
        ("/static/admin/admin.css", "text/css"),
        ("/static/swagger-ui/swagger-ui-bundle.js", "javascript"),
    ],
)
async def test_files_are_served_as_what_they_are(shared_api: Api, path: str, kind: str) -> None:
    """Browsers refuse a script of another type."""
    answer = await shared_api.get(path)
    assert 200 == answer.status_code
    assert kind in answer.headers["content-type"]


@pytest.mark.parametrize("path", ["/static/../settings.py", "/static/%2e%2e/app.py", "/static/"])
async def test_nothing_else_is_served(shared_api: Api, path: str) -> None:
    """No way out of the folder, and no list of it."""
    assert 404 == (await shared_api.get(path)).status_code


async def test_the_api_is_described_without_another_host(shared_api: Api) -> None:
    """`/docs` brings its own Swagger UI."""
    page = await shared_api.get("/docs")
    assert "/static/swagger-ui/swagger-ui-bundle.js" in page.text
    assert "//" not in page.text.replace("</", "<")
    assert "default-src 'none'" in page.headers["content-security-policy"]
