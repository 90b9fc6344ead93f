"""The board: whatever is handed in is ranked, or refused with its reason; bands follow from paired intervals."""

import importlib.util
import io
import zipfile

import fake_runs
import numpy as np
import pandas as pd
import pytest

from hpa_lib import __main__, atlas, paths, store
from hpa_lib.data import splits
from hpa_lib.decisions import bootstrap, leaderboard, metrics, submission, thresholds
from hpa_synth import data_sets, writing

IMAGES = 300
HEADER = "Id,Predicted"


@pytest.fixture(scope="module")
def truth():
    """Ids str (N,) and labels uint8 (N, 28) of the test images."""
    generator = np.random.default_rng(0)
    return np.array([f"id-{number:04d}" for number in range(IMAGES)]), fake_runs.draw_labels(generator, IMAGES)


@pytest.fixture
def course(tmp_path, truth):
    """A factory: write a submission, bytes or the lines of a table, into ``course/teams``; the folder ``course``."""
    save_truth(tmp_path / "truth.csv", *truth)
    (tmp_path / "teams").mkdir()

    def write(name, content):
        content = "\n".join(content) + "\n" if isinstance(content, list) else content
        path = tmp_path / "teams" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    write.folder = tmp_path
    return write


def save_truth(path, ids, labels):
    table = submission.make_table(ids, labels, ids).rename(columns={"Predicted": "Target"})
    return store.save_table(path.parent, path.name, table)


def lines_of(truth, share_wrong, seed):
    """The lines of a submission in which a share of the images has a label set that is not its own."""
    generator = np.random.default_rng(seed)
    ids, labels = truth
    wrong = generator.random(IMAGES) < share_wrong
    preds = np.where(wrong[:, None], labels[generator.permutation(IMAGES)], labels)
    return [HEADER, *(f"{image_id},{atlas.format_target(row)}" for image_id, row in zip(ids, preds, strict=True))]


def zip_of(lines):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as opened:
        opened.writestr("submission.csv", "\n".join(lines))
    return stream.getvalue()


def write_class(course, truth):
    """What a course hands in: the good ones, best first, and the others with words of their reason."""
    mid = lines_of(truth, 0.6, 3)
    good = {"best.csv": lines_of(truth, 0.1, 1), "zipped.zip": zip_of(lines_of(truth, 0.35, 2))}
    good |= {"twin_a.csv": mid, "twin_b.csv": mid, "Lee_42/answer.csv": lines_of(truth, 0.9, 4)}
    any_team = lines_of(truth, 0.2, 5)
    empty_rows = [
        line if number % 9 or not number else line.split(",")[0] + "," for number, line in enumerate(any_team)
    ]
    excel = "\ufeff" + "\r\n".join(lines_of(truth, 0.5, 6)) + "\r\n"
    others = {  # a team's file -> its content, and words of what is said about it
        "shuffled.csv": ([HEADER, *any_team[:0:-1]], "in another order than the truth's, first at row 1"),
        "wrong_ids.csv": ([HEADER, *("x" + line for line in any_team[1:])], "300 images of the truth missing"),
        "doubled.csv": (any_team + any_team[1:4], "3 repeated Ids"),
        "spreadsheet.csv": ("\ufeff" + "\r\n".join(any_team).replace(",", ";"), "separated by semicolons"),
        "utf16.csv": ("\n".join(any_team).encode("utf-16"), "save it as CSV in UTF-8"),
        "semicolons.csv": ("\n".join(any_team).replace(",", ";"), "separated by semicolons: use commas"),
        "one_column.csv": ([line.split(",")[0] for line in any_team], "starts with 'Id'"),
        "label28.csv": ([*any_team[:-1], f"{truth[0][-1]},28"], "label '28' in target '28'"),
        "empty.csv": ("", "the file is empty: its first line must be Id,Predicted"),
        "notes.txt": ("we used resnet", "starts with 'we used resnet'"),
        "broken.zip": (b"PK\x03\x04broken", "zip archive that cannot be unpacked"),
        "photo.csv": (b"\x89PNG\xff\xfe\x00", "no UTF-8 text"),
    }
    for name, content in {**good, "excel.csv": excel, "gaps.csv": empty_rows}.items():
        course(name, content)
    for name, (content, _) in others.items():
        course(name, content)
    (course.folder / "teams" / "directory.csv").mkdir()
    course("two_files/a.csv", any_team)
    course("two_files/b.csv", any_team)
    for no_team in (".DS_Store", "Thumbs.db", "desktop.ini", "Lee_42/Thumbs.db"):
        course(no_team, b"\0")
    (course.folder / "teams" / "gone.csv").symlink_to(course.folder / "nowhere")
    words = {name.partition(".")[0] if name != "notes.txt" else name: said for name, (_, said) in others.items()}
    words |= {"directory": "a folder with 0 files", "two_files": "a folder with 2 files", "gone": "is not there"}
    return ["best", "zipped", "excel", "twin_a", "twin_b", "Lee_42"], words


def make(folder, **options):
    files = leaderboard.find_files(folder / "teams")
    return leaderboard.make(files, folder / "truth.csv", **{"draws": 200} | options)


def test_everything_that_a_course_hands_in_is_ranked_or_refused_with_its_reason(course, truth):
    good, words = write_class(course, truth)
    board, refused, _ = make(course.folder)
    reasons = dict(refused.itertuples(index=False))
    assert reasons.keys() == words.keys()
    assert {team: words[team] in reasons[team] for team in words} == dict.fromkeys(words, True), reasons
    assert not [reason for reason in reasons.values() if str(course.folder) in reason or "\n" in reason]
    ranked = board[board["kind"] == "team"].set_index("team")
    assert set(ranked.index) == {*good, "gaps"}
    assert [team for team in ranked.index if team != "gaps"] == good
    assert ranked["rank"].tolist() == sorted(ranked["rank"]) and ranked["rank"].min() == 1
    assert (
        ranked.loc["twin_a", ["rank", "band", "macro_f1"]].tolist()
        == ranked.loc["twin_b", ["rank", "band", "macro_f1"]].tolist()
    )
    assert ranked.loc["twin_b", "notes"] == "the same label sets as twin_a" and not ranked.loc["twin_a", "notes"]
    assert ranked.loc["gaps", "notes"].startswith("33 rows without any label, first id-0008")
    assert board["band"].is_monotonic_increasing and board["macro_f1"].is_monotonic_decreasing
    assert board.iloc[-1]["kind"] == "simple" and pd.isna(board.iloc[-1]["rank"])


def test_scores_and_intervals_are_those_of_the_submissions_own_score(course, truth):
    path = course("a.csv", lines_of(truth, 0.4, 1))
    course("b.csv", lines_of(truth, 0.6, 2))
    wanted = submission.score(path, course.folder / "truth.csv", draws=200, public=0.3)
    for final, part in ((False, "public"), (True, "private")):
        row = make(course.folder, final=final)[0].set_index("team").loc["a"]
        assert row[["macro_f1", "low", "high"]].tolist() == pytest.approx(
            [wanted[part][name] for name in ("macro_f1", "low", "high")]
        )
    assert row["public_macro_f1"] == pytest.approx(wanted["public"]["macro_f1"]) and row["public_rank"] == 1


def test_a_part_without_some_classes_says_what_can_be_reached_and_a_perfect_file_reaches_it(course, truth, capsys):
    ids, labels = truth
    labels = labels.copy()
    labels[:, 20:] = 0
    labels[~labels.any(axis=1), 0] = 1
    save_truth(course.folder / "truth.csv", ids, labels)
    course("perfect.csv", lines_of((ids, labels), 0, 0))
    arguments = [course.folder / "teams", course.folder / "truth.csv", "--out", course.folder / "wall"]
    is_public = splits.make_holdout(labels, np.arange(IMAGES), 0.3, 0)
    for options, part, rows in (([], "public", is_public), (["--final"], "private", ~is_public)):
        assert run("leaderboard", *arguments, *options) == 0
        present = labels[rows].any(axis=0).sum()
        told = f"{28 - present} of 28 classes have no image in the {part} part: at most {present / 28:.2f} can".replace(
            " 0.", " ."
        )
        pages = [(course.folder / "wall" / f"leaderboard.{suffix}").read_text() for suffix in ("html", "md")]
        assert all(told in text for text in (capsys.readouterr().out, *pages))
        table = pd.read_csv(course.folder / "wall" / "leaderboard.csv").set_index("team")
        assert table.loc["perfect", "macro_f1"] == pytest.approx(present / 28)


def test_the_private_part_shows_nowhere_before_the_end(course, truth):
    """Teams that differ on private images alone are equal until then."""
    _, labels = truth
    course("a.csv", lines_of(truth, 0, 0))
    alone = make(course.folder)[0].set_index("team")
    rows = np.flatnonzero(~splits.make_holdout(labels, np.arange(IMAGES), 0.3, 0))[:60]
    changed = lines_of(truth, 0, 0)
    for row in rows:
        changed[row + 1] = f"{truth[0][row]},27"
    course("b.csv", changed)
    board = make(course.folder)[0].set_index("team")
    assert "public_rank" not in board and board.loc["a"].tolist()[:6] == board.loc["b"].tolist()[:6]
    assert board.loc["a", "macro_f1"] == alone.loc["a", "macro_f1"]
    final = make(course.folder, final=True)[0].set_index("team")
    assert final.loc["a", "rank"] == 1 and final.loc["b", "rank"] == 2
    assert final["public_rank"].dropna().tolist() == [1, 1]


def test_a_band_ends_with_the_last_that_cannot_be_told_from_its_best():
    """The best, one that moves with it and is told from it, one with noise that is not; then two alike, and a last."""
    generator = np.random.default_rng(0)
    scores = np.array([0.50, 0.62, 0.61, 0.60, 0.51, 0.30])
    moves = np.array([0, 1, 1, 0, 0, 0])[:, None] * generator.normal(0, 0.02, 2000)
    resampled = (
        scores[:, None]
        + moves
        + np.array([0.02, 0.001, 0.001, 0.02, 0.02, 0.02])[:, None] * generator.normal(size=(6, 2000))
    )
    low, _ = bootstrap.bounds((resampled[1] - resampled[[2, 3]]).T, np.array([0.01, 0.02]))
    assert low[0] > 0 > low[1]
    assert leaderboard.find_bands(scores, resampled).tolist() == [2, 1, 1, 1, 2, 3]


def test_equal_submissions_are_one_band():
    assert leaderboard.find_bands(np.full(3, 0.4), np.tile(np.linspace(0.3, 0.5, 50), (3, 1))).tolist() == [1, 1, 1]


def test_a_paired_interval_decides_and_not_two_intervals_beside_each_other(course, truth):
    """b has a's errors and more of them: the intervals overlap, and still the two are told apart."""
    lines = lines_of(truth, 0.3, 1)
    course("a.csv", lines)
    course(
        "b.csv",
        [line if number % 8 or not number else f"{line.partition(',')[0]},0 27" for number, line in enumerate(lines)],
    )
    board = make(course.folder, final=True)[0].set_index("team")
    assert board.loc["b", "high"] > board.loc["a", "low"]
    assert board.loc[["a", "b"], "band"].tolist() == [1, 2]


def test_baselines_are_the_commonest_set_the_studys_cnn_and_the_best_classical_run(tmp_path):
    out, data = tmp_path / "out", tmp_path / "data"
    classical = {"classical-trees-none": 1.2, "classical-logistic-none": 2.0}
    fake_runs.write_out(out, data, {**fake_runs.RUNS, **classical}, num_images=600)
    fake_runs.complete(out)
    truth_path = data / "truth" / "test_truth.csv"
    ids, labels = submission.read(truth_path, "Target")
    table = submission.make_table(ids, labels, ids)
    store.save_table(tmp_path / "teams", "perfect.csv", table)
    files = leaderboard.find_files(tmp_path / "teams")
    board, *_ = leaderboard.make(files, truth_path, baselines=out, draws=50, final=True)
    board = board.set_index("team")
    rows = ~splits.make_holdout(labels, np.arange(len(labels)), 0.3, 0)
    commonest = submission.commonest_set(labels)
    wanted = {
        "simple: the study's CNN at .5": ("densenet-rgby-none", 0.5),
        "strong: the study's CNN, tuned thresholds": ("densenet-rgby-none", None),
        "strong: classical-logistic-none, tuned thresholds": ("classical-logistic-none", None),
    }
    for name, (run, limit) in wanted.items():
        _, probs = store.load_probs(out, run, "test")
        preds = thresholds.apply(probs, thresholds.load(out, run)[0] if limit is None else limit, True)
        assert board.loc[name, "macro_f1"] == metrics.macro_f1(labels[rows], preds[rows])
        assert board.loc[name, "kind"] == name[:6]
    assert set(board.index) == {*wanted, f"simple: label set '{commonest}' for all", "perfect"}
    assert board.loc["perfect", "rank"] == 1
    with pytest.raises(ValueError, match="images of the truth were not predicted by densenet-rgby-none"):
        leaderboard.load_baselines(out, np.array(["other"]))
    (out / "decisions" / "thresholds.json").unlink()
    with pytest.raises(store.MissingInput, match="05_threshold_tuning"):
        leaderboard.load_baselines(out, ids)


def test_of_several_runs_of_the_studys_cnn_the_one_of_its_recipe_is_taken(tmp_path):
    out, data, runs = (
        tmp_path / "out",
        tmp_path / "data",
        ("densenet-rgby-none", "densenet-rgby-none-2", "densenet-rgby-none-3"),
    )
    fake_runs.write_out(out, data, dict.fromkeys(runs, 1.0), num_images=200)
    fake_runs.complete(out)
    for run_name, recipe in zip(runs, ("own", "study", "own"), strict=True):
        record = store.load_json(out, f"runs/{run_name}/result.json")
        store.save_json(out, f"runs/{run_name}/result.json", record | {"recipe": recipe})
    ids, probs = store.load_probs(out, runs[1], "test")
    preds = leaderboard.load_baselines(out, ids)["simple: the study's CNN at .5"]
    np.testing.assert_array_equal(preds, thresholds.apply(probs, 0.5, thresholds.load(out, runs[1])[1]))


def test_an_interval_ends_at_1_and_rows_are_numbered_by_rank():
    entries = {"team": ["b", "a"], "kind": "team", "macro_f1": [0.5, 1.0], "notes": ""}
    board = leaderboard._rank(pd.DataFrame(entries), np.array([[0.4, 0.5, 0.6], [0.8, 1.0, 0.9]]))
    assert board["team"].to_dict() == {0: "a", 1: "b"} and board.loc[0, "high"] == 1


@pytest.mark.parametrize("images, full", [(700, False), (1000, True), (6000, True)])
def test_every_class_is_in_both_parts_of_a_courses_data_of_1000_images(images, full):
    """What docs/teaching.md says of the smallest size."""
    settings = data_sets.find_profile("course", images, None, False)
    for seed in range(3):
        sets = [job.labels for job in writing.make_jobs(settings, seed, "test")]
        labels = np.array([np.isin(np.arange(28), list(labels)) for labels in sets])
        is_public = splits.make_holdout(labels, np.arange(len(labels)), 0.3, 0)
        parts = [labels[is_public], labels[~is_public]]
        assert all(part.any(axis=0).all() for part in parts) == full


def test_a_single_class_without_images_is_told_as_one():
    labels = np.eye(28, dtype=np.uint8)
    assert leaderboard._limit(labels[:27], "public").startswith("1 class has no image in the public part: at most .96")
    assert leaderboard._limit(labels, "public") == ""


def test_a_run_set_without_the_studys_cnn_is_refused(tmp_path):
    fake_runs.write_out(tmp_path / "out", tmp_path / "data", {"resnet18-rgby-none": 1.0}, num_images=200)
    with pytest.raises(ValueError, match="has no run of the study's CNN"):
        leaderboard.load_baselines(tmp_path / "out", np.array(["a"]))


def test_teams_of_one_name_and_names_that_no_terminal_shows_are_kept_apart(course):
    for name in ("a.csv", "a.zip", "b\x1b[31m.csv", "c.CSV", "d.csv.zip", "007.csv"):
        course(name, "x")
    assert set(leaderboard.find_files(course.folder / "teams")) == {"a.csv", "a.zip", r"b\x1b[31m", "c", "d", "007"}


def test_a_folder_without_submissions_is_refused(course):
    with pytest.raises(ValueError, match="is empty: it should hold the submissions"):
        leaderboard.find_files(course.folder / "teams")
    with pytest.raises(ValueError, match="is no folder"):
        leaderboard.find_files(course.folder / "truth.csv")


def run(*arguments):
    return __main__.main([str(argument) for argument in arguments])


def test_the_command_writes_a_page_with_every_team_and_reason(course, truth, capsys):
    good, words = write_class(course, truth)
    folder, out = course.folder, course.folder / "wall"
    assert run("leaderboard", folder / "teams", folder / "truth.csv", "--out", out) == 1
    printed = capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["leaderboard.csv", "leaderboard.html", "leaderboard.md"]
    pages = [(out / f"leaderboard.{suffix}").read_text() for suffix in ("html", "md")]
    for text in (printed, *pages):
        assert not [team for team in [*good, *words] if team not in text]
        assert "private" not in text and "33 rows without any label" in text
    assert "gaps<br><small>33 rows" in pages[0] and "gaps<br>33 rows" in pages[1]
    assert "public part: 30% of the test images" in pages[0] and "script" not in pages[0]
    table = pd.read_csv(out / "leaderboard.csv")
    assert table.columns.tolist() == ["rank", "band", "team", "kind", "macro_f1", "low", "high", "notes"]
    assert run("leaderboard", folder / "teams", folder / "truth.csv", "--out", out, "--final") == 1
    assert "private part: 70% of the test images" in (out / "leaderboard.html").read_text()


def test_an_anonymous_board_names_nobody_but_in_its_key_and_keeps_the_numbers(course, truth, capsys):
    _, words = write_class(course, truth)
    folder, out = course.folder, course.folder / "wall"
    arguments = ["leaderboard", folder / "teams", folder / "truth.csv", "--anonymous"]
    assert run(*arguments) == 2 and "--anonymous without --out DIR" in capsys.readouterr().err
    run(*arguments, "--out", out)
    printed, key = capsys.readouterr().out, store.load_json(folder, "wall-key.json")
    assert (folder / "wall-key.json").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in out.iterdir()) == ["leaderboard.csv", "leaderboard.html", "leaderboard.md"]
    assert f"key         {folder / 'wall-key.json'} (who has which number: do not publish it)" in printed
    texts = [
        printed.replace(str(folder), ""),
        *((out / f"leaderboard.{suffix}").read_text() for suffix in ("html", "md", "csv")),
    ]
    for name in ("zipped", "twin_a", "Lee_42", "label28", "utf16", "two_files", "gaps"):
        assert name in key and not [text for text in texts if name in text], name
    assert sorted(key.values()) == list(range(1, len(key) + 1)) and list(key.values()) != sorted(key.values())
    course("007.csv", lines_of(truth, 0.5, 9))
    for _ in range(2):
        run(*arguments, "--out", out)
    assert store.load_json(folder, "wall-key.json") == key | {"007": len(key) + 1}


def test_a_share_that_is_none_and_a_truth_that_is_not_there_are_one_sentence(course, truth, capsys):
    course("a.csv", lines_of(truth, 0.1, 1))
    for arguments in ((course.folder / "truth.csv", "--public", "1.5"), (course.folder / "no.csv",)):
        assert run("leaderboard", course.folder / "teams", *arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and len(captured.err.splitlines()) == 1
    assert run("leaderboard", course.folder / "teams", course.folder / "truth.csv") == 0


@pytest.mark.slow
def test_bands_rarely_put_a_better_team_below_a_worse_one():
    """200 boards of twenty teams and few test images: of all pairs that are truly .03 to .04 apart, at most 5 %."""
    spec = importlib.util.spec_from_file_location("bench_leaderboard", paths.PROJECT / "bench" / "leaderboard.py")
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    near, more, _, bands = bench.simulate(200, 400)[0]
    print(f"wrong: {near:.3f} of pairs .03 apart, {more:.3f} of all from .03 on; {bands:.1f} bands")
    assert near <= 0.05 and more <= 0.05 and bands >= 2
