"""Keeps the workflows of a release to the letter. Not a test: `python -m tests.upgrade.freeze`.

Run it once in a release that changes a workflow's commands, after raising `VERSION`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.workflows.record_histories import VERSION

ROOT = Path(__file__).parents[2]
RELEASED = Path(__file__).parent / "released"
SHA256SUMS = RELEASED / "SHA256SUMS"


def sums() -> str:
    """What `sha256sum` says of the released files."""
    return "".join(
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(RELEASED)}\n"
        for file in sorted(RELEASED.glob("v*/*.py"))
    )


def freeze() -> None:
    """Copy the workflows; only their imports of one another are led to the copy.

    Raises:
        FileExistsError: If this version was frozen already: it stays as it is.
    """
    folder = RELEASED / f"v{VERSION}"
    folder.mkdir()
    here = ".".join(folder.relative_to(ROOT).parts)
    for file in ROOT.glob("workflows/*.py"):
        code = file.read_text().replace("from workflows.", f"from {here}.")
        (folder / file.name).write_text(code)
    SHA256SUMS.write_text(sums())


if __name__ == "__main__":
    freeze()
