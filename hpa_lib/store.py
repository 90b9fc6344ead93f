"""Read and write the files of a run set in ``outputs/``. Every write is atomic.

One run set is one folder (``OUT`` in the notebooks). These are its results; caches, unpacked archives, checkpoints and
executed notebooks are files of the modules that make them, written with ``write_atomic`` too::

    data/split.csv               Id, Target, group, fold (-1 = hold-out)        notebook 00
    data/dataset.json            where the data came from, is it synthetic      notebook 00
    tables/<name>.csv            any table of the report                        all
    figures/<name>.png, .pdf     any figure of the report; .csv: its numbers    all
    runs/<run>/result.json       parameters, versions, timings, best epoch      notebooks 02-04
    runs/<run>/history.csv       one row per epoch
    runs/<run>/model.keras       the trained model
    runs/<run>/probs_<part>.npz  ids (N,), probs (N, 28); part: val, holdout, test
    runs/<run>/embeddings_<part>.npz  ids (N,), embeddings (N, F); networks only, part: val, holdout
    decisions/<name>.json        thresholds and ensemble choices                notebooks 05, 06
    submission.csv, report.html  what a run set comes to; report/ for writing   notebooks 06, 07
"""

import functools
import hashlib
import json
import os
import re
import uuid
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import atlas, paths

OUTPUTS = paths.PROJECT / "outputs"
REFERENCE = OUTPUTS / "reference"
SCORED_PARTS = ("val", "holdout", "test")
SPLIT = ["Id", "Target", "group", "fold"]  # the columns of data/split.csv
RUN = re.compile(r"\w[\w.-]{0,99}")  # no comma, which separates names in RUNS, and nothing that a file system refuses
TAKEN = ("mean", "stacked", "intersection", "chosen", "true", "class")  # ensembles, and words in the tables' columns
MADE_BY = {  # notebook -> how the names of what it writes begin
    "00_data.ipynb": ("data", "figures/data"),
    "01_eda_label_imbalance.ipynb": ("tables/eda", "figures/eda"),
    "02_train_densenet.ipynb (or 03, 04)": ("runs", "figures/architecture"),
    "05_threshold_tuning.ipynb": ("decisions/thresholds.json", "tables/thresholds.csv", "figures/threshold"),
    "06_ensemble.ipynb": ("decisions/ensemble.json", "tables/ensemble", "figures/ensemble", "submission.csv"),
    "08_explore.ipynb": ("figures/explore", "tables/explore", "tables/localisation"),
    "07_report.ipynb": ("tables/report", "tables/study", "tables/summary", "figures/report"),
}


class MissingInput(FileNotFoundError):
    """A file that an earlier notebook makes is not there."""


def write_atomic(path: Path, write: Callable[[Path], None]) -> Path:
    """Let ``write(temporary_path)`` make a file and move it to ``path`` in one step, so no half file is ever seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.part.{path.name}")  # some writers go by the suffix
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def need(out: Path, name: str) -> Path:
    """The path ``out/name``; a MissingInput that names the notebook that makes it, where there is no such file."""
    path = Path(out) / name
    if path.exists():
        return path
    raise MissingInput(f"{path} is not there: run {made_by(name)} with the same OUT first")


def made_by(name: str) -> str:
    """The notebook that writes ``out/name``."""
    return next((maker for maker, starts in MADE_BY.items() if name.startswith(starts)), "the earlier notebooks")


def save_json(out: Path, name: str, values: dict) -> Path:
    """Write ``values`` as ``out/name`` (indented JSON; NumPy numbers and arrays become plain ones)."""
    text = json.dumps(values, indent=2, default=_plain) + "\n"
    return write_atomic(Path(out) / name, lambda path: path.write_text(text, encoding="utf-8"))


def _plain(value):
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} {value!r} cannot be stored as JSON")


def load_json(out: Path, name: str) -> dict:
    """Read ``out/name``, which ``save_json`` wrote.

    Raises:
        MissingInput: it is not there; the sentence names the notebook that makes it.
        ValueError: it holds no JSON object (a disk that was full, an editor).
    """
    path = need(out, name)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("it holds no JSON object")
    except ValueError as error:
        raise _damaged(path, name, error) from None
    return values


def _damaged(path: Path, name: str, problem: object) -> ValueError:
    """The error of a file that is there and cannot be read (a disk that was full, an editor, a half copied folder)."""
    return ValueError(f"{path} is damaged ({problem}): delete it and run {made_by(name)} with the same OUT")


def save_table(out: Path, name: str, table: pd.DataFrame) -> Path:
    """Write a table as ``out/name`` (CSV without its index; the same bytes on every system, which digests rely on)."""
    return write_atomic(Path(out) / name, lambda path: table.to_csv(path, index=False, lineterminator="\n"))


def load_table(out: Path, name: str) -> pd.DataFrame:
    """Read a table that ``save_table`` wrote; texts stay texts, also ``NA``; raises as ``load_json``."""
    path, texts = need(out, name), dict.fromkeys(["Id", "Target", "Predicted", "train_id", "test_id"], str)
    try:
        return pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=[""])
    except ValueError as error:  # pandas' own errors are of this kind
        raise _damaged(path, name, str(error).strip()) from None


def save_figure(out: Path, name: str, fig, table: pd.DataFrame | None = None) -> None:
    """Write a figure as ``out/figures/<name>.png``, for print as ``.pdf``, and the numbers it shows as ``.csv``."""
    for suffix, metadata in (("png", {}), ("pdf", {"CreationDate": None})):  # the same figure gives the same bytes
        options = {"dpi": 150, "bbox_inches": "tight", "metadata": metadata}
        write_atomic(Path(out) / f"figures/{name}.{suffix}", functools.partial(fig.savefig, **options))
    if table is not None:
        save_table(out, f"figures/{name}.csv", table)


def save_split(out: Path, ids: np.ndarray, labels: np.ndarray, groups: np.ndarray, folds: np.ndarray) -> Path:
    """Write ``data/split.csv``: one row per image, its label set, its group and its fold (-1 = hold-out).

    Args: ids str (N,), labels uint8 (N, 28), groups (N,) (images of one group share a fold), folds int (N,).
    """
    targets = [atlas.format_target(row) for row in labels]
    table = pd.DataFrame(dict(zip(SPLIT, (ids, targets, groups, folds), strict=True)))
    return save_table(out, "data/split.csv", table)


def load_split(out: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Read ``data/split.csv``: ids str (N,), labels uint8 (N, 28), groups (N,), folds int (N,).

    Raises: as ``load_json``; it is no file to edit, since every run is bound to it.
    """
    name = "data/split.csv"
    table = load_table(out, name)
    try:
        if list(table.columns) != SPLIT or table["fold"].dtype.kind not in "if" or (table["fold"] % 1 != 0).any():
            raise ValueError(f"it has not the columns {','.join(SPLIT)} with a whole number in each fold")
        if not table["Id"].is_unique:
            raise ValueError(f"the Id {table['Id'][table['Id'].duplicated()].iloc[0]} occurs twice")
        labels = np.stack([atlas.parse_target(target) for target in table["Target"].fillna("")])
    except ValueError as error:
        raise _damaged(Path(out) / name, name, error) from None
    return table["Id"].to_numpy(str), labels, table["group"].to_numpy(), table["fold"].to_numpy(int)


def find_run_set(out: str | Path = "") -> Path:
    """The run set to read: the argument, else ``HPA_OUT``, else the one in ``outputs/`` with the newest finished run.

    ``HPA_OUT`` counts once it holds a finished run. The small run set that comes with the project,
    ``outputs/reference``, is taken where there is no other. What was found by itself is printed.

    Raises:
        MissingInput: there is no finished run set.
    """
    given, reason = out or os.environ.get("HPA_OUT"), "OUT is empty"
    if given:
        folder = paths.find_out(given)
        if out or any(folder.glob("runs/*/result.json")):
            return folder
        reason = f"HPA_OUT, {folder}, holds no finished run yet"
    results = list(OUTPUTS.glob("*/runs/*/result.json"))
    newest = max(results, key=lambda path: (path.parents[2] != REFERENCE, path.stat().st_mtime), default=None)
    if newest is None:
        raise MissingInput(f"no finished run in {OUTPUTS}: run 00_data.ipynb and 02_train_densenet.ipynb, or make demo")
    found = newest.parents[2]
    kind = "finished runs that come with the project" if found == REFERENCE else "newest finished run set"
    print(f"{reason}: taking the {kind}, {found}")
    return found


def split_digest(out: Path) -> str:
    """``digest`` of ``data/split.csv``: a model that was trained on another split must not be scored."""
    return digest(out, "data/split.csv")


def digest(out: Path, name: str) -> str:
    """16 hexadecimal digits that change when the file ``out/name`` does."""
    return hashlib.sha256(need(out, name).read_bytes()).hexdigest()[:16]


def run_folder(out: Path, run: str) -> Path:
    """The folder of one training run (made by the first write into it); a ValueError where ``run`` is no good name."""
    if not RUN.fullmatch(run):
        raise ValueError(f"run name '{run}': use letters, digits, '-', '_' and '.', 100 of them at most")
    if re.sub(r"-fold\d+", "", run) in TAKEN:
        raise ValueError(f"run name '{run}': notebooks 06 and 07 use this word, so give the run a longer name")
    return Path(out) / "runs" / run


def list_runs(out: Path) -> list[str]:
    """The names of all finished runs (with a ``result.json``) of the present split, sorted; MissingInput if none."""
    found = _finished_runs(out) or need(out, "runs/*/result.json")
    stale = stale_runs(out)
    if len(stale) == len(found):
        raise MissingInput(
            f"all runs in {out} ({', '.join(stale)}) were trained on another split than data/split.csv: "
            "train them again with START_OVER (02_train_densenet.ipynb, 03 or 04)"
        )
    return [run for run in found if run not in stale]


def stale_runs(out: Path, runs: Sequence[str] | None = None) -> list[str]:
    """Of ``runs`` (None: all finished ones) those that were trained on another split: they must not be scored."""
    split, runs = split_digest(out), _finished_runs(out) if runs is None else runs
    return [run for run in runs if load_json(out, f"runs/{run}/result.json").get("split") != split]


def print_stale_runs(out: Path) -> None:
    """Name the finished runs that do not count with the present split; prints nothing where there are none."""
    if stale := stale_runs(out):
        print(f"left out, since they were trained on another split: {', '.join(stale)}")


def choose_runs(out: Path, names: str = "") -> list[str]:
    """The runs named in ``names`` (separated by commas), or all of the present split; runs left out are printed.

    Raises:
        MissingInput: there is no run of the present split.
        ValueError: a named run is not there, or was trained on another split.
    """
    named = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    for run in named:
        if run not in _finished_runs(out):
            raise ValueError(f"no finished run '{run}' in {out}: use one of {', '.join(list_runs(out))}")
        if stale_runs(out, [run]):
            raise ValueError(f"run '{run}' was trained on another split than data/split.csv: train it again")
    if not named:
        print_stale_runs(out)
    return named or list_runs(out)


def _finished_runs(out: Path) -> list[str]:
    return sorted(path.parent.name for path in Path(out).glob("runs/*/result.json"))


def digest_runs(out: Path, runs: list[str]) -> dict[str, str]:
    """Run -> 16 hexadecimal digits that change when the split or any of the run's stored probabilities do."""
    split, digests = need(out, "data/split.csv").read_bytes(), {}
    for run in runs:
        need(out, f"runs/{run}/probs_val.npz")
        stored = sorted(run_folder(out, run).glob("probs_*.npz"))
        digests[run] = hashlib.sha256(b"".join([split, *(path.read_bytes() for path in stored)])).hexdigest()[:16]
    return digests


def load_decision(out: Path, name: str) -> dict:
    """Read ``decisions/<name>.json``, whose entry ``runs`` is what ``digest_runs`` gave when it was made.

    Raises:
        MissingInput: it is missing, or its runs have been trained again or removed since, or the split has changed,
            or notebook 05 has chosen other thresholds since the ensemble was made.
    """
    decision = load_json(out, f"decisions/{name}.json")
    runs = {run: digest for run, digest in decision.get("runs", {}).items() if run in _finished_runs(out)}
    if not runs or runs != decision["runs"] or runs != digest_runs(out, list(runs)):
        raise MissingInput(
            f"decisions/{name}.json was made of other runs or of another split than those in {out}: "
            f"run {made_by(f'decisions/{name}.json')} again"
        )
    tuning = decision.get("thresholds_digest")  # only of ensembles; older files have none
    if tuning and tuning != digest(out, "decisions/thresholds.json"):
        raise MissingInput(
            f"decisions/{name}.json was made before notebook 05 chose other thresholds: run 06_ensemble.ipynb again"
        )
    return decision


def save_probs(out: Path, run: str, part: str, ids: np.ndarray, probs: np.ndarray) -> Path:
    """Write one run's probabilities on one part (``val``, ``holdout`` or ``test``): ids (N,), probs float32 (N, 28)."""
    if part not in SCORED_PARTS:
        raise ValueError(f"part '{part}': use one of {', '.join(SCORED_PARTS)}")
    if len(ids) != len(probs):
        raise ValueError(f"{len(ids)} ids but {len(probs)} rows of probabilities for run '{run}', part '{part}'")
    arrays = {"ids": np.asarray(ids, str), "probs": np.asarray(probs, np.float32)}
    return save_arrays(run_folder(out, run), f"probs_{part}.npz", arrays)


def load_probs(out: Path, run: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Read what ``save_probs`` wrote: ids str (N,), probs float32 (N, 28); raises as ``load_json``."""
    return load_arrays(out, f"runs/{run}/probs_{part}.npz", ("ids", "probs"))


def save_arrays(out: Path, name: str, arrays: dict[str, np.ndarray]) -> Path:
    """Write arrays as ``out/name`` (NumPy's .npz)."""
    return write_atomic(Path(out) / name, lambda path: np.savez(path, **arrays))


def load_arrays(out: Path, name: str, keys: Sequence[str]) -> tuple[np.ndarray, ...]:
    """Read the arrays ``keys`` that ``save_arrays`` wrote; raises as ``load_json``."""
    path = need(out, name)
    try:
        with np.load(path, allow_pickle=False) as stored:
            return tuple(stored[key] for key in keys)
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(path, name, error) from None


def load_truth(out: Path, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The true labels uint8 (N, 28) and the groups (N,) of ``ids``, in their order, from ``data/split.csv``.

    Raises:
        ValueError: an Id is not in the split.
    """
    known, labels, groups, _ = load_split(out)
    rows = find_rows(known, ids, "ids are not in data/split.csv", "rerun the training")
    return labels[rows], groups[rows]


def load_scored(out: Path, run: str, part: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One run's labels uint8 (N, 28), probs float32 (N, 28) and groups (N,) on ``val`` or ``holdout``."""
    ids, probs = load_probs(out, run, part)
    labels, groups = load_truth(out, ids)
    return labels, probs, groups


def find_rows(known: np.ndarray, ids: np.ndarray, problem: str, remedy: str) -> np.ndarray:
    """The row of each of ``ids`` str (N,) in ``known`` str (M,), where each Id is once: int (N,).

    Raises:
        ValueError: an Id is not there; the sentence holds ``problem`` and ``remedy``.
    """
    rows = pd.Index(known).get_indexer(ids)
    if (rows < 0).any():
        missing = np.asarray(ids)[rows < 0]
        raise ValueError(f"{len(missing)} {problem}, first '{missing[0]}': {remedy}")
    return rows


def run_name(model: str, channels: str, dial: str, fold: int = 0, seed: int = 0) -> str:
    """A run's name, such as ``resnet18-rgby-sqrt-fold2``; ``dial`` is its recipe or, without one, its class weights."""
    weights = "handset" if "," in dial else dial
    extra = [f"{word}{number}" for word, number in (("fold", fold), ("seed", seed)) if number]
    return "-".join([model, channels, weights, *extra])
