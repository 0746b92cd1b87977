"""A browser, where the machine has one, and axe in it; nothing is loaded from anywhere else."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
_AXE = resources.files("axe_core_python") / "axe.min.js"
_FLAGS = (
    "--headless",
    "--no-sandbox",  # tests may run as root, and open nothing but their own pages
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--virtual-time-budget=20000",
)
_DARK = "--blink-settings=preferredColorScheme=0"
# An e-mail is an article in the page of a mail program, which has landmarks of its own.
_RUN = """
const aside = {"landmark-one-main": {enabled: false}, region: {enabled: false}};
axe.run(document, {rules: aside, resultTypes: ["violations"]}).then(
  found => parent.postMessage({name: NAME, violations: found.violations}, "*"));
"""
_COLLECT = """
const found = {};
addEventListener("message", message => {
  found[message.data.name] = message.data.violations.map(
    v => v.id + ": " + v.nodes.map(n => n.html + " " + n.any.map(a => a.message)).join("; "));
  document.getElementById("found").textContent = JSON.stringify(found);
});
"""


def screenshot(page: Path, picture: Path, *, width: int, height: int, dark: bool = False) -> None:
    """A picture of a page, at two pixels each.

    Args:
        page: An HTML document.
        picture: The PNG file to write.
        width: Of the window, in CSS pixels; the browser makes none below 500.
        height: Of the window, in CSS pixels.
        dark: Whether the reader prefers a dark screen.
    """
    window = (f"--window-size={width},{height}", "--force-device-scale-factor=2")
    command = [str(BROWSER), *_FLAGS, *window, "--hide-scrollbars", *([_DARK] if dark else [])]
    subprocess.run(
        [*command, f"--screenshot={picture}", page.as_uri()],
        check=True,
        capture_output=True,
        timeout=100,
    )


def violations(
    pages: Mapping[str, str], folder: Path, *, dark: bool = False
) -> Mapping[str, Sequence[str]]:
    """What axe has to say against these documents, by their names.

    Args:
        pages: HTML documents.
        folder: For a page that has them all as frames.
        dark: Whether the reader prefers a dark screen.
    """
    axe = _AXE.read_text(encoding="utf-8").replace("</script", "<\\/script")
    frames = []
    for name, page in pages.items():
        script = f"<script>{axe}</script><script>{_RUN.replace('NAME', json.dumps(name))}</script>"
        document = page.replace("</body>", f"{script}</body>")
        frames.append(
            f'<iframe title="{name}" width="700" height="1200" srcdoc="{html.escape(document)}">'
            "</iframe>"
        )
    file = folder / "pages.html"
    file.write_text(
        f'<!doctype html><pre id="found"></pre><script>{_COLLECT}</script>{"".join(frames)}',
        encoding="utf-8",
    )
    command = [str(BROWSER), *_FLAGS, f"--user-data-dir={folder / 'profile'}"]
    dumped = subprocess.run(
        [*command, *([_DARK] if dark else []), "--dump-dom", file.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    result = re.search(r'<pre id="found">(.*?)</pre>', dumped.stdout, re.DOTALL)
    assert result is not None, dumped.stderr
    found: dict[str, Any] = json.loads(html.unescape(result[1]) or "{}")
    assert found.keys() == pages.keys(), "axe did not come to an end in every page"
    return found
