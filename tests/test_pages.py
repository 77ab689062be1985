"""The pages show what was measured for this version, and their links lead somewhere."""

import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "figures"


@pytest.fixture(scope="module")
def figures():
    if not FOLDER.is_dir():
        pytest.skip("the pages are not here")
    sys.path.insert(0, str(ROOT / "bench"))
    try:
        return importlib.import_module("figures")
    finally:
        sys.path.remove(str(ROOT / "bench"))


def test_the_readme_has_the_table(figures):
    table = figures.as_markdown(figures.headlines(figures.read(FOLDER)))
    readme = (ROOT / "README.md").read_text()
    assert table in readme, "run python bench/ratios.py --markdown docs/figures"
    assert len(readme.splitlines()) <= 150


def test_the_pages_have_the_tables(figures):
    for name, rows in figures.tables(figures.read(FOLDER)).items():
        assert (FOLDER / name).read_text() == figures.as_csv(rows)


def test_they_are_of_this_version(figures):
    shown = figures.read(FOLDER)
    version = re.search(r'"(.+)"', (ROOT / "fastnn" / "_version.py").read_text())[1]
    assert shown["version"] == version
    assert shown["machine"] in (ROOT / "README.md").read_text()
    for results in shown["results"].values():
        keys = [result["key"] for result in results]
        assert set(figures.HEADLINES) <= set(keys)
        for result in results:
            peer_ms = result["peers_ms"][result["best_peer"]]
            assert result["ratio"] == pytest.approx(peer_ms / result["fastnn_ms"])


def anchors(text):
    """Return the names by which headings are linked to."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md"]


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    page = ROOT / name
    if not page.exists():
        pytest.skip("the pages are not here")
    text = page.read_text()
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked.read_text()), target
