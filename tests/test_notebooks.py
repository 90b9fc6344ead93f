"""The notebooks are stored clean; and, slow, the whole chain runs on a tiny data set."""

import ast
import re
import statistics

import nbformat
import pytest

from hpa_lib import paths, store
from hpa_lib.running import plan, profiles

NOTEBOOKS = sorted((paths.PROJECT / "notebooks").glob("*.ipynb"))
UNWANTED = ["sys.path", "warnings.filterwarnings", "warnings.simplefilter", "%matplotlib", "%pip", "!pip", "os.chdir"]
MOST_LINES = {"02": 65, "03": 65, "04": 65}  # lines of code besides the parameters; 100 for all others
ALIASES = {"numpy": "np", "pandas": "pd", "matplotlib.pyplot": "plt", "tensorflow": "tf", "seaborn": "sns"}
COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
PARAMETER_LINE = re.compile(r"[A-Z][A-Z0-9_]*: [a-z]\w*(\[.*\])?( \| \w+)* = .+  # \S.*")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks():
    numbers = [path.name.partition("_")[0] for path in NOTEBOOKS]
    assert numbers[:9] == ["00", "01", "01b", "02", "03", "04", "05", "06", "07"]


def test_stored_valid_and_without_outputs(notebook):
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    for cell in code_cells(notebook):
        assert cell.outputs == [] and cell.execution_count is None, f"cell {cell.id}: clear its outputs"
        assert not set(cell.metadata) - {"tags"}, f"cell {cell.id} has the metadata {dict(cell.metadata)}"


def test_cell_ids_are_words(notebook):
    """Stable names make small diffs and readable error messages: not the random ids of an editor."""
    for cell in notebook.cells:
        assert re.fullmatch(r"[a-z][a-z0-9-]*", cell.id) and not re.fullmatch(r"[0-9a-f]{8}", cell.id), cell.id


def test_one_parameters_cell_with_types_and_help(notebook):
    tagged = [cell for cell in code_cells(notebook) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1 and tagged[0].id == "parameters"
    assert code_cells(notebook)[0] is tagged[0], "the parameters cell is the first code cell"
    lines = [line for line in tagged[0].source.splitlines() if line != "# leave these as they are at first"]
    for line in lines:
        assert PARAMETER_LINE.fullmatch(line), f"write NAME: type = literal  # unit, when to change it: {line!r}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_defaults_have_the_annotated_types(path):
    for name, parameter in plan.read_parameters(path).items():
        assert type(plan.check_value(name, parameter.default, parameter)) is type(parameter.default), name


def test_notebooks_wire_and_define_nothing(notebook):
    for cell in code_cells(notebook):
        tree = ast.parse(cell.source)
        defined = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        assert not defined, f"cell {cell.id} defines {defined[0].name}: put it into hpa_lib"
        is_short = len(cell.source.splitlines()) <= 15 or cell.id == "parameters"
        assert is_short, f"cell {cell.id} has more than 15 lines"
        assert not [word for word in UNWANTED if word in cell.source], f"cell {cell.id}"
        last = tree.body[-1] if tree.body else None
        is_bare = isinstance(last, ast.Expr) and isinstance(last.value, ast.Name) and last.value.id.startswith("fig")
        assert not is_bare, f"cell {cell.id} ends in a figure, which is then drawn twice"


def count_lines(cell):
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in cell.source.splitlines())


def find_long_parts(number, cells):
    """What is too long in a notebook's code cells besides its parameters; blank lines and comments do not count."""
    lengths = {cell.id: count_lines(cell) for cell in cells if cell.id != "parameters"}
    total, middle, most = sum(lengths.values()), statistics.median(lengths.values()), MOST_LINES.get(number, 100)
    if total > most:
        yield f"{total} lines of code, at most {most}"
    if middle > 6:
        yield f"a median cell of {middle} lines, at most 6"
    yield from (f"cell {name} has {length} lines, at most 10" for name, length in lengths.items() if length > 10)


def find_hard_parts(tree):
    """Comprehensions with a second loop, in them or beside their first, and names given by ``import x as y``."""
    for node in ast.walk(tree):
        if isinstance(node, COMPREHENSIONS):
            loops = sum(len(inner.generators) for inner in ast.walk(node) if isinstance(inner, COMPREHENSIONS))
            if loops > 1:
                yield f"nested comprehension: {ast.unparse(node)}"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                is_usual = isinstance(node, ast.Import) and ALIASES.get(alias.name) == alias.asname
                if alias.asname and not is_usual:
                    yield f"alias: {ast.unparse(node)}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_short_and_plain(path):
    cells = code_cells(nbformat.read(path, as_version=4))
    found = [*find_long_parts(path.name[:2], cells)]
    for cell in cells:
        found += [f"cell {cell.id}: {problem}" for problem in find_hard_parts(ast.parse(cell.source))]
    assert not found, "; ".join(found)


def test_the_search_for_hard_parts_finds_them():
    nested = "[[a for a in b] for b in c]", "[a for b in c for a in b]", "{k: sum(a for a in b) for k in c}"
    aliases = "import os as o", "from hpa_lib import store as s", "import numpy as n"
    for source in (*nested, *aliases):
        assert list(find_hard_parts(ast.parse(source))), source
    assert not list(find_hard_parts(ast.parse("import numpy as np\nimport os\n[a for a in b if a]")))


def test_modules_are_imported_not_names(notebook):
    for cell in code_cells(notebook):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("hpa_lib"):
                folder = paths.PROJECT.joinpath(*node.module.split("."))
                for alias in node.names:
                    is_module = (folder / f"{alias.name}.py").exists() or (folder / alias.name).is_dir()
                    assert is_module, f"cell {cell.id}: import the module, not {alias.name} from {node.module}"


def test_title_card_and_closing_sections(notebook):
    title = notebook.cells[0].source
    assert title.startswith("# ") and all(word in title for word in ("**Reads**", "**Writes**", "**Time**"))
    headings = [cell.source.splitlines()[0] for cell in notebook.cells if cell.source.startswith("## ")]
    assert "## Summary" in headings and headings[-1] == "## Try it", headings


def test_only_thresholds_compares_probabilities(notebook):
    for cell in code_cells(notebook):
        assert not re.search(r"\bprobs(\[[^]]*\])?\s*[<>]", cell.source), f"cell {cell.id}: call thresholds.apply"


TINY = {"IMAGE_SIZE": 64, "EPOCHS": 1, "HEAD_EPOCHS": 0, "BATCH_SIZE": 16, "PRECISION": "float32"}


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    """The demo's steps on a tiny data set, one epoch each: its records and its folder."""
    import hpa_synth
    from hpa_lib.running import runner

    folder = tmp_path_factory.mktemp("chain")
    data = hpa_synth.write_dataset(folder / "data", profile="smoke", workers=2, progress=False)
    steps = [(name, number, dict(values)) for name, number, values in profiles.DEMO["steps"]]
    for _, number, values in steps:
        known = plan.read_parameters(plan.find_notebook(paths.PROJECT / "notebooks", number))
        values.update({name: value for name, value in TINY.items() if name in known})
    fixed = {"DATA": data, "OUT": folder / "out"}
    checked = plan.make_plan(steps, paths.PROJECT / "notebooks", fixed=fixed)
    return runner.run_plan(checked, folder / "out", runner.Options("demo", cell_timeout=600)), folder / "out"


@pytest.mark.slow
def test_whole_chain_runs(finished_run):
    records, _ = finished_run
    assert records[-1]["status"] == "done", records[-1]["error"]
    assert len(records) == len(profiles.DEMO["steps"])


@pytest.mark.slow
def test_chain_leaves_what_it_promises(finished_run):
    _, out = finished_run
    for name in ("data/split.csv", "tables/summary.csv", "report.html", "submission.csv"):
        assert (out / name).stat().st_size > 0, name
    networks = sum(number in ("02", "03", "04") for _, number, _ in profiles.DEMO["steps"])
    assert len(store.list_runs(out)) == networks + 3, "and the three classical runs of 01b"


@pytest.mark.slow
def test_executed_copies_show_figures_and_no_warnings(finished_run):
    _, out = finished_run
    for path in sorted((out / "notebooks").glob("*.ipynb")):
        outputs = [output for cell in code_cells(nbformat.read(path, as_version=4)) for output in cell.outputs]
        figures = [output for output in outputs if "image/png" in output.get("data", {})]
        assert figures, f"{path.name} shows no figure"
        texts = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stderr")
        assert "Warning" not in texts, f"{path.name}: {texts[texts.index('Warning') - 200 :][:400]}"
