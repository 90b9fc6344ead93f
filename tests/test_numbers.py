"""The measured numbers of the pages come from the files of ``outputs/reference`` that a marker names.

A marker is a comment on the line above a table, or at the end of a paragraph or bullet:

    <!-- reference: outputs/reference/FILE.csv, FILE2.csv (means by COLUMN), made by `COMMAND` -->

Of a table, each number of the body must be in the files when it is rounded to the printed digits: in the rows of the
CSV that the table's row begins with the name of (``resnet18``, or the longest that fits), else in any. In text, only
decimal numbers, percentages and "12 of 28" are looked for, without .5 (the threshold) and 95 % (the intervals). A
number with its interval, "+.02 [.01, .03]", must be in three cells side by side.
"""

import functools
import re

import pandas as pd
import pytest

from hpa_lib import atlas, paths, store
from hpa_synth import sampling

MARKER = re.compile(r"<!-- reference: (.+?) -->")
NUMBER = r"(?<![\w.])[+-]?(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)(?!\w)(?: ?%)?"
RUN = re.compile(rf"({NUMBER})(?:\s*\[({NUMBER}), ({NUMBER})\])?", re.ASCII)  # a number, or a number with its interval
IN_TEXT = re.compile(r"\.\d|%")
NOT_MEASURED = (".5", "95 %")
MUST_BE_MARKED = ("README.md", "docs/README.zh-TW.md", "docs/findings.md", "docs/teaching.md")
PAGES = sorted({*MUST_BE_MARKED, "bench/README.md", *(f"docs/{path.name}" for path in paths.PROJECT.glob("docs/*.md"))})
UNMARKED = {  # a table's first header cell -> why it needs no file
    "class": "counts of labels: test_the_classes_counts_are_those_of_the_label_tables",
    "notebook": "minutes of a machine, in docs/teaching.md hours that are estimated and points (test_docs.py)",
    "筆記本": "the notebooks' questions",
    "what you see": "advice and messages, nothing measured",
    "part": "a marking scheme, chosen and not measured",
}


def read_blocks(page):
    """The tables, paragraphs and bullets of a page with their marker ("": none), as (marker, lines)."""
    text = (paths.PROJECT / page).read_text(encoding="utf-8").replace("−", "-")
    text = re.sub(r"^(<!-- .*-->)\n\n", r"\1\n", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.MULTILINE)
    for block in re.split(r"\n\s*\n|\n(?=- )", text):
        marker = MARKER.search(block)
        yield marker[1] if marker else "", re.sub("<!--.*?-->", "", block).strip().splitlines()


def find_runs(text):
    """The numbers of a text as printed, each a tuple of one, or of three where an interval follows."""
    return [tuple(filter(None, found)) for found in RUN.findall(text)]


def read_number(text):
    """Value and printed decimals; a percentage as its share."""
    number = text.replace(",", "").rstrip(" %")
    digits = len(number.partition(".")[2])
    return (float(number) / 100, digits + 2) if "%" in text else (float(number), digits)


@functools.cache
def read_rows(marker):
    """The rows of a marker's files: the texts that can name a row, and all numbers in order, then those in texts."""
    rows = []
    for name, columns in re.findall(r"([\w/.-]+\.csv)(?: \(means by ([\w, ]+)\))?", marker):
        table = pd.read_csv(store.REFERENCE / name.removeprefix("outputs/reference/"))
        if columns:
            table = table.groupby(columns.split(", "), sort=False).mean(numeric_only=True).reset_index()
        for first, *others in table.astype(object).itertuples(index=False):
            texts = [str(first), *(cell for cell in others if isinstance(cell, str))]
            numbers = [float(cell) for cell in (first, *others) if not isinstance(cell, str) and not pd.isna(cell)]
            numbers += [read_number(number)[0] for text in texts for run in find_runs(text) for number in run]
            rows.append(([text.lower() for text in texts], numbers))
    return rows


def is_near(number, text):
    """Whether ``number`` gives ``text`` when it is rounded; .3 gives no 0."""
    value, digits = read_number(text)
    return abs(number - value) <= 0.5 * 10**-digits + 1e-9 and (digits > 0 or abs(number) >= 1 or number == 0)


def is_there(run, rows):
    """Whether a row has the numbers of ``run`` side by side."""
    starts = [numbers[start : start + len(run)] for _, numbers in rows for start in range(len(numbers) - len(run) + 1)]
    return any(all(map(is_near, numbers, run)) for numbers in starts)


def choose_rows(cells, rows):
    """The CSV's rows that a table's row is about, and its cells without their name."""
    left = []
    for place, cell in enumerate(cells):
        names = {text for texts, _ in rows for text in texts if re.match(re.escape(text) + r"(?![\w.,-])", cell)}
        name = max((name for name in names if place == 0 or not RUN.fullmatch(name)), key=len, default="")
        rows = [row for row in rows if name in row[0]] if name else rows
        left.append(cell[len(name) :])
    return rows, left


def find_strangers(marker, lines):
    """The numbers of a marked block that its files do not have, each with the start of its line."""
    rows, strangers = read_rows(marker), []
    if not lines[0].startswith("|"):
        text = re.sub(r"`[^`]*`|\]\([^)]*\)|\*", "", " ".join(lines))
        runs = [run for run in find_runs(text) if IN_TEXT.search(run[0]) and run[0] not in NOT_MEASURED]
        runs += [(number,) for pair in re.findall(r"\b(\d+) of (\d+)\b", text) for number in pair]
        return [f"{' '.join(run)} in {lines[0][:40]}" for run in runs if not is_there(run, rows)]
    for line in lines[2:]:
        label, *others = [cell.strip() for cell in re.sub(r"[*`]", "", line).lower().split("|")[1:-1]]
        label = re.sub(r"(?<=\d),(?=\d{3})", "", label)
        chosen, left = choose_rows([label, *others], rows)
        runs = find_runs(" | ".join(left))
        strangers += [f"{' '.join(run)} in {label}" for run in runs if not is_there(run, chosen)]
    return strangers


@pytest.mark.parametrize("page", PAGES)
def test_marked_numbers_are_in_the_reference_files(page):
    strangers = [
        stranger for marker, lines in read_blocks(page) if marker for stranger in find_strangers(marker, lines)
    ]
    assert strangers == []


@pytest.mark.parametrize("page", MUST_BE_MARKED)
def test_tables_with_numbers_are_marked(page):
    unmarked = [lines for marker, lines in read_blocks(page) if lines and lines[0].startswith("|") and not marker]
    with_numbers = [lines for lines in unmarked if RUN.search(re.sub("`[^`]*`", "", " ".join(lines[2:])))]
    heads = [lines[0].split("|")[1].strip() for lines in with_numbers]
    assert [head for head in heads if head not in UNMARKED] == []


@pytest.mark.parametrize("page", PAGES)
def test_markers_name_a_command_that_is_there(page):
    for marker in (marker for marker, lines in read_blocks(page) if marker and lines[0].startswith("|")):
        (command,) = re.findall(r"made by `([^`]+)`$", marker)
        assert all((paths.PROJECT / script).exists() for script in re.findall(r"\S+\.py", command)), command
        assert re.match(r"(python bench/\w+\.py|make \w+|hpa run)\b", command), command


def test_the_classes_counts_are_those_of_the_label_tables():
    """README's table: Kaggle's counts in the generator's label sets, the demo's in the reference's split."""
    sets, counts = sampling.read_label_sets()
    _, labels, _, _ = store.load_split(store.REFERENCE)
    real, demo = counts @ sets, labels.sum(axis=0, dtype=int)
    (lines,) = [lines for _, lines in read_blocks("README.md") if lines and lines[0].startswith("| class |")]
    *rows, last = [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in lines[2:]]
    for name, *shown in rows:
        label = atlas.LABELS.index(name)
        assert shown == [f"{real[label]:,}", str(demo[label])], name
    assert last[1:] == [f"{round(found.max() / found.min()):,} : 1" for found in (real, demo)]


MADE = """<!-- reference: outputs/reference/summary.csv, made by `make demo` -->
| model | at .5 |
|---|---|
| **resnet18-rgby-best** | {} |
| any | {} |
"""


@pytest.mark.parametrize(
    ("numbers", "wrong"),
    [
        ((".109 / 0.162", ".6"), []),  # .10857, .16191
        ((".110", ".6"), [".110 in resnet18-rgby-best"]),
        (("-.109", ".6"), ["-.109 in resnet18-rgby-best"]),
        ((".603", ".603"), [".603 in resnet18-rgby-best"]),  # another run's
        (("+10.9 %", "[.603, 0]"), ["0 in any"]),
    ],
)
def test_a_changed_digit_is_seen(numbers, wrong):
    marker, *lines = MADE.format(*numbers).splitlines()
    assert find_strangers(marker, lines) == wrong


@pytest.mark.parametrize("page", MUST_BE_MARKED[:3])
def test_nearly_every_changed_digit_of_the_tables_is_seen(page):
    seen = []
    for marker, lines in read_blocks(page):
        for line in lines[2:] if marker and lines[0].startswith("|") else []:
            for found in re.finditer(NUMBER, line, re.ASCII):
                last = max(place for place in range(*found.span()) if line[place].isdigit())
                changed = f"{line[:last]}{(int(line[last]) + 5) % 10}{line[last + 1 :]}"
                seen.append(find_strangers(marker, [*lines[:2], changed]) != [])
    assert len(seen) > 20 and sum(seen) > 0.9 * len(seen)


def test_of_a_text_decimals_shares_and_counts_are_looked_for():
    marker = "outputs/reference/report_class_weights.csv"
    text = "- By -.044 [-.075, -.015] at .5, 95 %, with 59 features; -4.4 % is the same, and `.123` is code."
    assert find_strangers(marker, [text]) == []
    wrong = ["-.044 [-.015, -.075]", "4.4 %", "3 of 4"]
    found = [stranger.split(" in ")[0] for text in wrong for stranger in find_strangers(marker, [text])]
    assert found == ["-.044 -.015 -.075", "4.4 %", "3", "4"]
