"""Any model's probabilities as a run: a table of a PyTorch, fastai or foundation model, read, checked and stored."""

import csv
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import atlas, provenance, store
from hpa_lib.data import kaggle
from hpa_lib.decisions import submission

SEPARATORS = ",;\t"
WANTED = "give a CSV table with the columns Id and one per class"


def add(out: Path, name: str, path: Path, fold: int = 0, replace: bool = False) -> dict[str, int]:
    """Store a table of probabilities as the run ``name``, so that notebooks 05 to 07 take it like any network's.

    The split tells validation (``fold``) and hold-out apart; rows of training images are left out.

    Args:
        out: a run set in which notebook 00 has run.
        name: of the run, such as ``resnet50-fastai``.
        path: a CSV table, see ``read``.
        fold: the fold that the model was not trained on and that validates it.
        replace: write over a run of this name that was added too.

    Returns:
        Images per stored part: ``val``, and ``holdout`` and ``test`` where the run set has them.

    Raises:
        ValueError: the table is wrong, lacks an image, has an unknown one, or the name is taken.
    """
    folder, out, path = store.run_folder(out, name), Path(out), Path(path)
    if folder.exists() and not replace:
        raise ValueError(f"{out} has a run {name} already: give another name, or --replace to write over it")
    if (folder / "model.keras").exists():
        raise ValueError(
            f"the run {name} of {out} is a trained network: give another name, or delete {folder} yourself"
        )
    known, _, _, folds = store.load_split(out)
    description = store.load_json(out, "data/dataset.json")
    ids, probs = read(path)
    parts = {"val": known[folds == fold], "holdout": known[folds == -1], "test": _list_test_ids(out, description)}
    if not len(parts["val"]):
        raise ValueError(f"fold {fold} has no images: use one of {', '.join(map(str, sorted(set(folds) - {-1})))}")
    strangers = sorted(set(ids.tolist()) - set(known.tolist()) - set(parts["test"].tolist()))
    if strangers:
        raise ValueError(
            f"{path}: {len(strangers)} Ids are in neither the split nor the test part of {out}, "
            f"first '{strangers[0]}': are they of another data set?"
        )
    wanted = {part: part_ids for part, part_ids in parts.items() if len(part_ids) or part == "holdout"}
    rows = {}
    for part, part_ids in wanted.items():
        problem = f"{part} images of {out} have no row in {path}"
        rows[part] = store.find_rows(ids, part_ids, problem, "give probabilities for all of them")
    shutil.rmtree(folder, ignore_errors=True)  # until all parts are stored there is no run
    for part, part_ids in wanted.items():
        store.save_probs(out, name, part, part_ids, probs[rows[part]])
    store.save_json(out, f"runs/{name}/result.json", _make_record(out, name, path, fold, description))
    return {part: len(part_ids) for part, part_ids in wanted.items() if len(part_ids)}


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Ids str (N,) and probabilities float32 (N, 28) of a CSV table.

    Its columns are ``Id`` and one per class, named by number (``0`` to ``27``) or by name, in any order. A table that
    Excel saved with semicolons and decimal commas is read too.

    Raises:
        ValueError: no such table; an Id is missing or occurs twice; a cell is no probability.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): {WANTED}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text in UTF-8: {WANTED}") from None
    separator = max(SEPARATORS, key=text.partition("\n")[0].count)
    header, *lines = [line for line in csv.reader(text.splitlines(), delimiter=separator) if any(line)] or [[]]
    if not lines:
        raise ValueError(f"{path} has no rows: {WANTED}")
    columns = _find_columns(path, [cell.strip() for cell in header])
    wrong = next((line for line in lines if len(line) != len(header)), None)
    if wrong:
        raise ValueError(f"{path}: the row of '{wrong[0]}' has {len(wrong)} cells, the first line {len(header)}")
    cells = np.char.strip(np.array(lines, str)[:, columns])  # (N, 29), the Id first
    _check_ids(path, cells[:, 0])
    decimal = "," if separator != "," else "."
    return cells[:, 0], _read_probs(path, cells[:, 0], np.char.replace(cells[:, 1:], decimal, "."))


def _find_columns(path: Path, header: list[str]) -> list[int]:
    """The column of the Id and of each class."""
    folded, columns = [name.casefold() for name in header], []
    for names in [("Id",), *((class_name, str(label)) for label, class_name in enumerate(atlas.LABELS))]:
        found = [column for column, name in enumerate(folded) if name in map(str.casefold, names)]
        if len(found) != 1:
            wanted = f"{names[0]} (or {names[1]})" if len(names) > 1 else names[0]
            raise ValueError(f"{path} has {len(found) or 'no'} columns {wanted}: it must have Id and each class once")
        columns += found
    return columns


def _check_ids(path: Path, ids: np.ndarray) -> None:
    if (ids == "").any():
        raise ValueError(f"{path}: row {int(np.flatnonzero(ids == '')[0]) + 1} has no Id")
    unique, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"{path}: {(counts > 1).sum()} Ids occur more than once, first '{unique[counts > 1][0]}'")


def _read_probs(path: Path, ids: np.ndarray, cells: np.ndarray) -> np.ndarray:
    values = pd.to_numeric(cells.ravel(), errors="coerce").reshape(cells.shape).astype(np.float32)
    bad = np.argwhere(np.isnan(values) & (np.char.lower(cells) != "nan"))
    if len(bad):
        row, label = bad[0]
        raise ValueError(f"{path}: '{cells[row, label]}' of '{ids[row]}', {atlas.LABELS[label]}, is no number")
    bad = np.argwhere(~((values >= 0) & (values <= 1)))
    if len(bad):
        row, label = bad[0]
        hint = ": these look like logits, apply the sigmoid first" if (values < 0).any() else ""
        raise ValueError(
            f"{path}: {len(bad)} cells are no probabilities from 0 to 1, first {values[row, label]} of '{ids[row]}', "
            f"{atlas.LABELS[label]}{hint}"
        )
    return values


def _list_test_ids(out: Path, description: dict) -> np.ndarray:
    """The test images of the run set: those of a stored run, else those of the data's sample submission."""
    if not description["test_images"]:
        return np.zeros(0, str)
    stored = sorted(out.glob("runs/*/probs_test.npz"))
    if stored:
        return store.load_probs(out, stored[0].parent.name, "test")[0]
    ids = submission.read_ids(Path(description["path"]) / kaggle.TABLES["test"][0])
    return ids[~np.isin(ids, description.get("dropped", {}).get("test", []))]


def _make_record(out: Path, name: str, path: Path, fold: int, description: dict) -> dict:
    """A ``result.json`` with the entries that a network's has; what is not known of a foreign model is empty."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    settings = {"model": name, "source": path.name, "sha256": digest, "fold": fold}
    record = {"run": name, "model": name, "channels": "", "class_weights": "", "weights": "a table of probabilities"}
    record |= {"recipe": "", "seed": 0, "fold": fold, "tta": 1, "best_epoch": 0, "seconds": 0.0}
    record |= {"images_per_second": 0.0, "synthetic": description["synthetic"], "settings": settings}
    made_with = {"versions": provenance.versions(), "finished": provenance.now()}
    return record | {"split": store.split_digest(out)} | made_with
