"""The pages in docs/: their links lead somewhere, and their tables say what the code and the results say."""

import re

import nbformat
import pandas as pd
import pytest

from hpa_lib import atlas, paths, store
from hpa_lib.running import exercises
from hpa_synth import data_sets, patterns

DOCS = paths.PROJECT / "docs"
PAGES = sorted(DOCS.glob("*.md"))


def read_rows(page):
    """The cells of all rows of a page's tables, as lists of texts."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines if line.startswith("| ")]


def test_the_pages_are_there():
    names = {path.name for path in PAGES}
    assert {"README.zh-TW.md", "generator.md", "teaching.md", "troubles.md"} <= names
    readme = (paths.PROJECT / "README.md").read_text(encoding="utf-8")
    assert [name for name in sorted(names) if f"(docs/{name})" not in readme] == [], "the README links every page"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (DOCS / target).exists(), target


def test_the_generators_page_shows_every_class_as_it_is_drawn():
    rows = {row[0]: row[1:] for row in read_rows("generator.md") if row[0].isdecimal()}
    for label, pattern in enumerate(patterns.PATTERNS):
        name, picture, text = rows[str(label)]
        told = " ".join(pattern.draw.__doc__.split()).replace(" um", " µm").replace("µm2", "µm²")
        assert (name, text) == (atlas.LABELS[label], told)
        assert picture == f"![{name}](classes/{label:02d}.png)"
    assert sum(path.stat().st_size for path in (DOCS / "classes").iterdir()) < 1e6


def test_the_generators_page_has_the_sizes_of_all_profiles():
    rows = {row[0].split()[0].strip("`"): row[1:] for row in read_rows("generator.md") if row[0].startswith("`")}
    assert rows.keys() == data_sets.DATA_SETS.keys()
    for name, (images, size, scale) in rows.items():
        found = data_sets.DATA_SETS[name]
        assert [int(number.replace(",", "")) for number in images.split(", ")] == [found.images, found.test_images]
        assert (int(size), float(scale)) == (found.size, found.um_per_px)


def test_the_chinese_pages_table_is_the_reference_runs():
    shown = {row[0]: row[1:] for row in read_rows("README.zh-TW.md")}
    for name, *scores in pd.read_csv(store.REFERENCE / "summary.csv").itertuples(index=False):
        assert shown[name] == ["" if pd.isna(score) else f"{score:.3f}" for score in scores], name


def test_the_teachers_page_has_the_points_of_all_exercises():
    shown = {row[0].strip("`"): int(row[3]) for row in read_rows("teaching.md") if len(row) == 4 and row[3].isdecimal()}
    points = {}
    for path in exercises.SOURCE.glob("*.ipynb"):
        marks = [cell.metadata.get("nbgrader", {}) for cell in nbformat.read(path, as_version=4).cells]
        points[path.stem] = sum(mark.get("points", 0) for mark in marks)
    assert shown == points
    assert f"Of the {sum(points.values())} points" in (DOCS / "teaching.md").read_text(encoding="utf-8")
