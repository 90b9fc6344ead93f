"""The exercises: a student's copy holds no solution, a solved one passes its checks, and wrong answers do not."""

import os
import re
import shutil

import nbclient
import nbformat
import pandas as pd
import pytest

from hpa_lib import __main__, store
from hpa_lib.running import exercises

SOURCES = sorted(exercises.SOURCE.glob("*.ipynb"))
NOT_DONE = "not done yet: put your code in place of this line"


def name_of(path):
    return path.stem


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    out = tmp_path_factory.mktemp("exercises")
    exercises.write_copies(out)
    return out


@pytest.fixture(autouse=True)
def run_set(monkeypatch):
    monkeypatch.setenv("HPA_OUT", str(store.REFERENCE))


def read(path):
    return nbformat.read(path, as_version=4)


def source_of(notebook):
    return "\n".join(cell.source for cell in notebook.cells)


def nbgrader(cell):
    return cell.metadata.get("nbgrader", {})


def run_cells(notebook, changes=()):
    """Run the code cells here, without a kernel; a failed cell's id and its error, or None twice."""
    names = {"display": lambda *_: None}
    for cell in notebook.cells:
        source = cell.source
        for before, after in changes:
            source = source.replace(before, after)
        try:
            exec(compile(source if cell.cell_type == "code" else "", cell.id, "exec"), names)
        except Exception as error:
            return cell.id, error
    return None, None


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_marks_are_nbgraders(path):
    """Cells are marked as nbgrader wants them: it refuses a mark without points, or a name that is there twice."""
    marked = [cell for cell in read(path).cells if nbgrader(cell)]
    assert [nbgrader(cell)["grade_id"] for cell in marked] == [cell.id for cell in marked]
    for cell in marked:
        mark = nbgrader(cell)
        assert set(mark) - {"points"} == {"grade", "grade_id", "locked", "schema_version", "solution", "task"}
        assert mark["schema_version"] == 3 and mark["grade"] == ("points" in mark)
        assert mark["solution"] == ("### BEGIN SOLUTION" in cell.source) and mark["locked"] == (not mark["solution"])
    tasks = [cell for cell in marked if nbgrader(cell)["solution"]]
    kinds = [cell.cell_type for cell in tasks]
    assert kinds.count("code") >= 2 and kinds.count("markdown") >= 1
    points = sum(nbgrader(cell).get("points", 0) for cell in marked)
    told = [int(number) for cell in marked for number in re.findall(r"^## Task .*\((\d) points\)", cell.source)]
    assert sum(told) == points and f"**Points** {points}." in read(path).cells[0].source


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_solution_is_left_in_the_students_copy(path, copies):
    source, student = read(path), read(copies / "student" / path.name)
    text = source_of(student)
    regions = re.findall(r"### BEGIN (?:SOLUTION|HIDDEN TESTS)\n(.*?)### END", source_of(source), re.DOTALL)
    lines = [line.strip() for region in regions for line in region.splitlines() if line.strip()]
    assert len(lines) > 5 and [line for line in lines if line in text] == []
    assert "### BEGIN" not in text and "### END" not in text
    same = [(cell.id, cell.cell_type, dict(cell.metadata)) for cell in source.cells]
    assert same == [(cell.id, cell.cell_type, dict(cell.metadata)) for cell in student.cells]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_the_students_copy_stops_at_its_first_task(path, copies):
    student = read(copies / "student" / path.name)
    tasks = [cell for cell in student.cells if nbgrader(cell).get("solution")]
    cell, error = run_cells(student)
    assert (cell, str(error)) == (tasks[0].id, NOT_DONE) and isinstance(error, NotImplementedError)
    places = [NOT_DONE if cell.cell_type == "code" else "*Write your answer here.*" for cell in tasks]
    assert all(place in cell.source for place, cell in zip(places, tasks, strict=True))


WRONG = [  # notebook, what is changed in its solution, the check that must refuse it
    ("00_data", "(folds_of_group > 1).sum()", "table[folds_of_group > 1].group.nunique()", "check-spanning"),
    ("00_data", "np.fill_diagonal(distances, bits.shape[1] + 1)", "", "check-pair"),
    ("00_data", "distances.argmin()", "np.where(distances > 99, 0, distances).argmax()", "check-pair"),
    (
        "01_eda_label_imbalance",
        "counts.max() / counts[counts > 0].min()",
        "counts.max() / counts.mean()",
        "check-imbalance",
    ),
    ("01_eda_label_imbalance", "counts.sum())) + 1", "counts.sum()))", "check-imbalance"),
    ("01_eda_label_imbalance", "false_alarms) / 28", "false_alarms)", "check-always"),
    ("01_eda_label_imbalance", "false_alarms + misses)", "false_alarms)", "check-always"),
    ("01b_classical_baseline", "len(train) / (2 * positives)", "len(train) / positives", "check-balance"),
    ("01b_classical_baseline", "negative_weights / (negative", "positive_weights / (negative", "check-thresholds"),
    ("02_train_densenet", "maps * filters + filters", "maps * filters", "check-parameters"),
    ("02_train_densenet", "np.sqrt(counts.max() / counts)", "counts.max() / counts", "check-weights"),
    ("02_train_densenet", "/ (weights * counts).sum()", "/ counts.sum()", "check-weights"),
    ("03_train_resnet18", "(1 + slopes) ** 8", "1 + slopes**8", "check-shortcuts"),
    ("03_train_resnet18", "kernel[:, :, :2].mean", "kernel.mean", "check-inflated"),
    ("03_train_resnet18", ".sum() / len(shares)", ".sum()", "check-losses"),
    ("04_train_inception_v2", "[-1] for branch in branches", "[-1] for branch in branches[:3]", "check-widths"),
    ("04_train_inception_v2", "rarity, 1.0).max(axis=1)", "rarity, 1.0).prod(axis=1)", "check-sampling"),
    ("05_threshold_tuning", "(probs > cuts).sum", "(probs >= cuts).sum", "check-reached"),
    ("05_threshold_tuning", "np.where(ends_tie, f1, 0).argmax()", "hits[-1] - 1", "check-threshold"),
    ("06_ensemble", "np.maximum(preds_first, preds_second)", "preds_first + preds_second", "check-union"),
    ("06_ensemble", "np.maximum(preds_first, preds_second)", "np.minimum(preds_first, preds_second)", "check-union"),
    ("06_ensemble", "averaged = [[1, 1, 0, 0]", "averaged = [[1, 0, 0, 0]", "check-by-hand"),
    ("06_ensemble", "united = [[1, 1, 0, 1]", "united = [[1, 1, 1, 0]", "check-by-hand"),
    ("06_ensemble", "true_positives / labels.sum(axis=0).clip(1)", "0 * true_positives", "check-union"),
    ("06_ensemble", "true_positives / preds.sum(axis=0).clip(1)", "0 * true_positives", "check-union"),
    ("07_report", 'table["high"] < 0', 'table["high"] <= 0.04', "check-read"),
    ("07_report", "labels[rows], before[rows])", "labels[others], before[others])", "check-paired"),
    ("08_explore", "& (labels == 0)", "", "check-surest"),
    ("08_explore", "is_false, sureness", "is_false & (np.arange(28) == 25), sureness", "check-surest"),
    ("08_explore", "missed.T.astype(int) @ missed.astype(int)", "(missed.T @ missed).astype(int)", "check-together"),
    ("08_explore", "apart.argmax(), apart.shape", "together.argmax(), apart.shape", "check-together"),
]


@pytest.mark.parametrize("stem, before, after, check", WRONG, ids=[f"{row[0]}: {row[2]}" for row in WRONG])
def test_a_wrong_answer_is_refused_with_a_sentence(stem, before, after, check):
    """By the visible checks: hidden ones are taken away, as they are in the student's copy."""
    notebook = read(exercises.SOURCE / f"{stem}.ipynb")
    assert source_of(notebook).count(before) == 1
    for cell in notebook.cells:
        cell.source = re.sub(r"### BEGIN HIDDEN TESTS.*", "", cell.source, flags=re.DOTALL)
    cell, error = run_cells(notebook, [(before, after)])
    assert isinstance(error, AssertionError) and cell == check and len(str(error)) > 10


@pytest.mark.slow
@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_solved_copies_pass(path, copies):
    """In a kernel, from the folder in which they were written, with the hidden tests."""
    solved = read(copies / "solved" / path.name)
    assert "### BEGIN" not in source_of(solved) and "### END" not in source_of(solved)
    nbclient.NotebookClient(solved, timeout=300, resources={"metadata": {"path": str(copies / "solved")}}).execute()
    printed = [output.get("text", "") for cell in solved.cells for output in cell.get("outputs", [])]
    checks = [cell for cell in solved.cells if cell.id.startswith("check-")]
    assert "".join(printed).count("correct") == len(checks) >= 2


def test_a_students_work_is_not_written_over(tmp_path, capsys):
    assert __main__.main(["exercises", str(tmp_path)]) == 0
    assert "10 notebooks" in capsys.readouterr().out
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.ipynb")}
    assert len(before) == 20 and __main__.main(["exercises", str(tmp_path)]) == 0  # unchanged: written again
    work = tmp_path / "student" / "00_data.ipynb"
    work.write_bytes(work.read_bytes().replace(b"your code here", b"\xff"))
    (tmp_path / "solved" / "00_data.ipynb").unlink()
    assert __main__.main(["exercises", str(tmp_path)]) == 2
    assert re.search(r"student/00_data.ipynb was changed: .* --replace$", capsys.readouterr().err.strip())
    assert b"\xff" in work.read_bytes() and not (tmp_path / "solved" / "00_data.ipynb").exists()
    assert __main__.main(["exercises", str(tmp_path), "--replace"]) == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.ipynb")} == before
    assert [path.name for path in tmp_path.iterdir() if path.name not in exercises.KINDS] == []


def handed_in(copies, changes, kind="solved"):
    notebook = read(copies / kind / "06_ensemble.ipynb")
    for cell in notebook.cells:
        cell.source = changes.get(cell.id, cell.source)
    return notebook


def run_filled(notebook):
    return run_cells(exercises.fill_in(exercises.SOURCE / "06_ensemble.ipynb", notebook))


def test_grading_uses_our_checks_with_the_hidden_tests(copies):
    """Labels in the wrong columns, which the visible checks cannot know, and a check that the student took out."""
    rows = "united = [[1, 1, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]]\ncommon = [[1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]"
    rows += "\naveraged = [[1, 1, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0]]"
    cell, error = run_filled(handed_in(copies, {"by-hand": rows, "check-by-hand": "print('correct')"}))
    assert cell == "check-by-hand" and isinstance(error, AssertionError) and not str(error)  # a hidden one
    assert run_filled(handed_in(copies, {})) == (None, None)


def test_grading_takes_split_and_added_cells_and_no_answer_as_none(copies):
    notebook = handed_in(copies, {})
    place = [cell.id for cell in notebook.cells].index("score-union")
    lines = notebook.cells[place].source.splitlines(keepends=True)
    second = nbformat.from_dict(notebook.cells[place] | {"id": "new", "source": "".join(lines[1:])})
    notebook.cells[place].source = lines[0].replace("{}, {}", "empty(), empty()")
    helper = nbformat.v4.new_code_cell("empty = dict")
    notebook.cells[place : place + 1] = [helper, notebook.cells[place], second]
    assert run_filled(notebook) == (None, None)
    notebook.cells = [cell for cell in notebook.cells if cell.id != "by-hand"]
    cell, error = run_filled(notebook)
    assert cell == "by-hand" and isinstance(error, NotImplementedError)


ANSWERS = {  # student -> the two answers in code
    "ann": ("first = 1", "second = 2"),
    "bob": ("first = 3", "second = 2"),
    "eve": ("first = 1", "import os\nos._exit(0)"),
    "jim": ("first = 1 +", "while True:\n    pass"),
}


def write_exercise(path, first, second):
    """A notebook with two answers in code (3 and 4 points) and one in words (2 points)."""

    def cell(name, source, **marks):
        new = nbformat.v4.new_markdown_cell if name == "words" else nbformat.v4.new_code_cell
        return new(source, id=name, metadata={"nbgrader": {"grade_id": name, "solution": False} | marks})

    solved = [cell("one", first, solution=True), cell("two", second, solution=True)]
    checks = [cell("check-one", "assert first == 1", points=3), cell("check-two", "assert second == 2", points=4)]
    words = cell("words", "because", points=2, solution=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[solved[0], checks[0], solved[1], checks[1], words]), path)


@pytest.fixture
def course(tmp_path, monkeypatch):
    """Two exercises of 9 points, ``00`` and ``01``; what is handed in is in ``in``."""
    monkeypatch.setattr(exercises, "SOURCE", tmp_path / "source")
    monkeypatch.setattr(exercises, "CELL_SECONDS", 2)
    for name in ("00", "01"):
        solutions = [f"### BEGIN SOLUTION\n{text}\n### END SOLUTION" for text in ANSWERS["ann"]]
        write_exercise(tmp_path / "source" / f"{name}.ipynb", *solutions)
    return tmp_path


def grade(course):
    code = __main__.main(["grade", str(course / "in"), str(course / "grades.csv")])
    return code, pd.read_csv(course / "grades.csv", keep_default_na=False, dtype={"notebook": str})


def test_hpa_grade_gives_points_per_cell_and_student(course, capsys):
    for student, answers in ANSWERS.items():
        write_exercise(course / "in" / student / "00 (1).ipynb", *answers)
    (course / "in" / "bob" / "01_broken.ipynb").write_text("{}")
    (course / "in" / "bob" / "mine.ipynb").write_text("{}")
    code, table = grade(course)
    points = {student: list(rows["points"]) for student, rows in table.groupby("student")}
    assert points["ann"] == ["3", "4", "", "0"] and points["bob"] == ["0", "4", "", "0", "0"]
    assert points["eve"] == ["3", "0", "", "0"] and points["jim"] == ["0", "0", "", "0"]
    notes = table.set_index(["student", "cell"])["note"]
    assert notes["ann", "words"] == "by hand: because" and notes["bob", "check-one"] == "a hidden test fails"
    assert notes["eve", "check-two"].startswith("not run: ")
    printed = capsys.readouterr().out
    for words in ("01_broken.ipynb is no notebook", "mine.ipynb: no exercise has this name"):
        assert words in "".join(notes["bob", ""]) and re.search(f"^note: bob: .*{words}", printed, re.MULTILINE)
    assert code == 1 and "note: ann" not in printed
    assert __main__.main(["grade", str(course / "in"), str(course / "grades.csv")]) == 2
    assert "name another file" in capsys.readouterr().err


def test_all_exercises_count_in_the_total_and_the_exit_code_is_0_without_a_note(course, capsys):
    write_exercise(course / "in" / "ann" / "00.ipynb", *ANSWERS["ann"])
    write_exercise(course / "in" / "ann" / "week 1" / ".ipynb_checkpoints" / "01.ipynb", *ANSWERS["ann"])
    write_exercise(course / "in" / "ann" / "._01.ipynb", *ANSWERS["ann"])
    (course / "in" / "joe").mkdir()
    (course / "in" / "__MACOSX").mkdir()
    code, table = grade(course)
    rows = table.loc[table["note"] == exercises.MISSING, ["student", "notebook", "of"]]
    assert rows.values.tolist() == [["ann", "01", 9], ["joe", "00", 9], ["joe", "01", 9]]
    totals = capsys.readouterr().out.splitlines()[-3:-1]
    assert [line.split() for line in totals] == [["ann", "7", "of", "18"], ["joe", "0", "of", "18"]] and code == 0


def test_a_file_that_cannot_be_read_counts_as_its_whole_exercise(course, capsys):
    write_exercise(course / "in" / "ann" / "00.ipynb", *ANSWERS["ann"])
    (course / "in" / "ann" / "01.ipynb").write_text("{}")
    code, table = grade(course)
    assert code == 1 and table.iloc[-1][["notebook", "points", "of"]].tolist() == ["01", "0", 9]
    assert capsys.readouterr().out.splitlines()[-2].split() == ["ann", "7", "of", "18"]


@pytest.mark.parametrize(
    "names, counted", [(["00.ipynb", "00_final.ipynb"], "00.ipynb"), (["00 (2).ipynb", "00 (1).ipynb"], "00 (2).ipynb")]
)
def test_of_two_files_of_an_exercise_a_single_one_counts(course, capsys, names, counted):
    for name in names:
        write_exercise(course / "in" / "ann" / name, *ANSWERS["ann" if name == counted else "bob"])
    code, table = grade(course)
    assert code == 1 and list(table["points"]) == ["0", "3", "4", "", "0"] and table["of"].sum() == 18
    folder, left = course / "in" / "ann", (set(names) - {counted}).pop()
    note = f"{folder / left} was left out: {folder / counted} is the same exercise"
    assert table.iloc[0]["note"] == note and f"note: ann: {note}\n" in capsys.readouterr().out


def test_a_note_names_the_answer_that_failed_first(course):
    """Also where a later task needs it; a check that fails by itself keeps its sentence."""
    write_exercise(course / "in" / "ann" / "00.ipynb", "first = 1 +", "second = first")
    write_exercise(course / "in" / "bob" / "00.ipynb", "frist = 1\nfrist / 0", "print('forgotten')")
    write_exercise(course / "in" / "joe" / "00.ipynb", "first = 1 / 0", "second = 3")
    _, table = grade(course)
    notes = table.set_index(["student", "cell"])["note"]
    assert notes["ann", "check-one"].startswith("cell one: SyntaxError: ")
    assert notes["ann", "check-one"].endswith("; then NameError: name 'first' is not defined")
    assert notes["ann", "check-two"].startswith("cell two: NameError: name 'first' is not defined; then ")
    assert notes["bob", "check-two"].startswith("cell one: ZeroDivisionError: division by zero; then NameError: ")
    assert notes["joe", "check-two"] == "a hidden test fails"


def test_a_notebook_without_a_students_folder_is_refused(course, capsys):
    write_exercise(course / "in" / "ann" / "00.ipynb", *ANSWERS["ann"])
    write_exercise(course / "in" / "00.ipynb", *ANSWERS["ann"])
    assert __main__.main(["grade", str(course / "in"), str(course / "grades.csv")]) == 2
    told = "in/00.ipynb has no student: put each student's notebooks into a folder of the student's name"
    assert told in capsys.readouterr().err and not (course / "grades.csv").exists()


@pytest.mark.parametrize("command, cause", [("grade", "were left out"), ("leaderboard", "could not be scored")])
def test_help_says_what_the_exit_code_means(capsys, command, cause):
    with pytest.raises(SystemExit):
        __main__.main([command, "--help"])
    assert re.search(rf"exit code: 0 .*, 1 .*{cause}.*, 2 bad usage", " ".join(capsys.readouterr().out.split()))


@pytest.mark.parametrize("text", ["### BEGIN SOLUTION\nx = 1", "x = 1\n### END SOLUTION", "### END HIDDEN TESTS"])
def test_a_mark_without_its_partner_is_refused(tmp_path, monkeypatch, text):
    shutil.copy(SOURCES[0], tmp_path / "00.ipynb")
    notebook = read(tmp_path / "00.ipynb")
    notebook.cells[2].source = text
    nbformat.write(notebook, tmp_path / "00.ipynb")
    monkeypatch.setattr(exercises, "SOURCE", tmp_path)
    with pytest.raises(ValueError, match="00.ipynb, cell setup: a BEGIN or END mark has no partner"):
        exercises.write_copies(tmp_path / "out")
    assert not os.path.exists(tmp_path / "out")
