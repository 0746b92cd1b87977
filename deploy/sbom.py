"""What the image is made of, as CycloneDX 1.5: `python3 dev.py sbom > sbom.json`.

Read off `uv.lock`, off the table of vendored files in `starter/static/README.md`, and the licences off
what is installed; nothing is asked of the network. The same checkout gives the same bytes: so there is
neither a serial number nor a time in it. The packages of the base image are its own publisher's.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import dev

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("otel",)
"""Those of the image."""

Json = dict[str, Any]

_VENDORED = re.compile(
    r"^\| `(?P<folder>[\w-]+)/` \|[^|]*\| (?P<version>\S+) \| (?P<licence>\S+) \| `npm pack (?P<name>\S+)@",
    re.MULTILINE,
)
_SUM = re.compile(r"^(?P<sum>[0-9a-f]{64})  (?P<file>\S+)$", re.MULTILINE)
_LONGEST_NAME = 60
"""Characters; what is longer is the text of a licence, and not its name."""


def bill() -> Json:
    """The bill of materials."""
    found = locked()
    for key in ("serialNumber", "timestamp"):
        found.pop(key, None)
        found["metadata"].pop(key, None)
    found["metadata"]["component"]["type"] = "application"
    found["components"] = [
        component | licence(component["name"]) for component in found["components"]
    ]
    found["components"] += vendored()
    return found


def locked() -> Json:
    """The packages of the lock, as uv writes them."""
    uv, _ = dev.find_uv()
    command = [uv, "export", "--quiet", "--frozen", "--offline", "--no-dev"]
    command += [f"--extra={extra}" for extra in EXTRAS]
    done = subprocess.run(
        [*command, "--format=cyclonedx1.5"], cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE
    )
    found: Json = json.loads(done.stdout)
    return found


def licence(package: str) -> Json:
    """What a package says of its licence, if it is installed and says it in a few words."""
    try:
        about: Json = metadata.metadata(package).json
    except metadata.PackageNotFoundError:  # of another system
        return {}
    if "license_expression" in about:
        return {"licenses": [{"expression": about["license_expression"]}]}
    said = about.get("license", "").strip()
    if not said or "\n" in said or len(said) > _LONGEST_NAME:
        classified = [c for c in about.get("classifier", ()) if c.startswith("License ::")]
        said = classified[0].rpartition(" :: ")[2] if classified else ""
    return {"licenses": [{"license": {"name": said}}]} if said else {}


def vendored() -> list[Json]:
    """What browsers load that others made, with the sums of its files."""
    text = (ROOT / "starter" / "static" / "README.md").read_text(encoding="utf-8")
    sums = {found["file"]: found["sum"] for found in _SUM.finditer(text)}
    return [
        {
            "type": "library",
            "bom-ref": f"{row['name']}@{row['version']}",
            "name": row["name"],
            "version": row["version"],
            "purl": f"pkg:npm/{row['name']}@{row['version']}",
            "licenses": [{"expression": row["licence"]}],
            "components": [
                {
                    "type": "file",
                    "name": file.partition("/")[2],
                    "hashes": [{"alg": "SHA-256", "content": content}],
                }
                for file, content in sums.items()
                if file.startswith(f"{row['folder']}/")
            ],
        }
        for row in _VENDORED.finditer(text)
    ]


def main() -> None:
    """Print it."""
    sys.stdout.write(json.dumps(bill(), indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
