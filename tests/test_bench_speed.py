"""The speed page: its table is the stored one, and the collector keeps what was not measured anew."""

import argparse
import importlib.util

import pytest

from hpa_lib import paths

BENCH = paths.PROJECT / "bench"


def load(name):
    """A script of bench/ as a module; `import speed` finds its neighbour."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCH)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def collector():
    return load("all")


@pytest.fixture(scope="module")
def speed():
    return load("speed")


def row_of(collector, script, what, measured="1 s"):
    row = dict.fromkeys(collector.COLUMNS, "") | {"script": script, "what": what, "measured": measured}
    return row | {"date": "2026-11-27", "machine": "2 cores"}


def test_the_pages_table_is_the_stored_one(collector):
    page = collector.PAGE.read_text(encoding="utf-8")
    assert f"{collector.MARKER}{collector.make_page(collector.read())}\n\n## " in page
    assert {row["script"] for row in collector.read()} - {""} == set(collector.SCRIPTS), "every script has its rows"


def test_a_goal_is_met_from_its_limit_on(speed):
    rows = [
        speed.compare("a", value, 2, "s", "peer", goal) for value, goal in ((2, "<= 1"), (2.1, "<= 1"), (1, ">= 0.5"))
    ]
    assert [row["met"] for row in rows] == ["yes", "no", "yes"]
    assert speed.compare("a", 3, 2, "s", "peer")["met"] == ""
    assert rows[1] == {
        "what": "a",
        "measured": "2.1 s",
        "peer": "2 s, peer",
        "ratio": "1.05",
        "goal": "<= 1",
        "met": "no",
    }


def test_growth_compares_with_the_smallest(speed):
    rows = speed.growth("cache", {1: 2.0, 4: 8.0, 16: 48.0}, "300 images")
    assert [(row["what"], row["ratio"], row["met"]) for row in rows] == [
        ("cache, 4 x", "4", "yes"),
        ("cache, 16 x", "24", "no"),
    ]


def test_rows_not_measured_anew_are_kept(collector):
    old = [row_of(collector, name, f"bench/{name}.py", "60 s") for name in collector.SCRIPTS]
    new = {"runner": [row_of(collector, "runner", "bench/runner.py", "180 s")]}
    measured = {row["script"]: row["measured"] for row in collector.merge([*old, row_of(collector, "", "all")], new)}
    assert (measured["cache"], measured["runner"], measured[""]) == ("60 s", "180 s", "8 min")


def test_a_script_that_was_never_run_is_named_and_nothing_is_summed_up(collector):
    rows = collector.merge([], {"cache": [row_of(collector, "cache", "bench/cache.py", "60 s")]})
    measured = {row["script"]: row["measured"] for row in rows}
    assert measured["board"] == "not run: `make bench` was not done here yet" and "" not in measured


def test_a_failed_script_is_a_row_and_the_page_is_written(collector, tmp_path):
    rows = collector.run("no_such_script", "2 cores")
    assert rows[0]["measured"].startswith("not run: it ended with") and rows[0]["machine"] == "2 cores"
    page = tmp_path / "page.md"
    page.write_text(f"# Speed\n\n{collector.MARKER}| old |\n\n## Why\n\nBecause.\n", encoding="utf-8")
    for _ in range(2):  # writing again changes nothing
        collector.write(collector.merge([], {"cache": rows}), tmp_path / "speed.csv", page)
    text = page.read_text(encoding="utf-8")
    shown = collector.make_page(collector.read(tmp_path / "speed.csv"))
    assert text == f"# Speed\n\n{collector.MARKER}{shown}\n\n## Why\n\nBecause.\n"
    assert "| old |" not in text and "not run: it ended with" in text


def test_thresholds_give_rows_in_the_common_form(speed):
    rows = load("thresholds").measure(argparse.Namespace(images=400, loop_classes=1))
    assert {tuple(row) for row in rows} == {speed.COLUMNS} and len(rows) == 7
