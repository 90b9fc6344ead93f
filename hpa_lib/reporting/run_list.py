"""All runs of a run set with what is stored of them, also those that are not finished or of another split."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import store
from hpa_lib.decisions import metrics, thresholds


def make_table(out: Path) -> pd.DataFrame:
    """One row per run, the best macro AP on validation first: the hold-out judges, it does not rank.

    Returns:
        run, network, recipe, epochs, best epoch, val macro AP, val F1 at .5, hold-out F1 tuned (where notebook 05 has
        scored this very run), minutes, note (empty, ``stale: another split`` or ``unfinished: epoch 3``).

    Raises:
        MissingInput: there is no run, or no split.
    """
    out = Path(out)
    finished = sorted(path.parent.name for path in out.glob("runs/*/result.json"))
    begun = {path.parents[1].name for path in out.glob("runs/*/checkpoints/state.json")} - set(finished)
    rows = [_finished_row(out, run) for run in finished] + [_begun_row(out, run) for run in sorted(begun)]
    if not rows:
        raise store.MissingInput(f"no run in {out}: run 00_data.ipynb and 02_train_densenet.ipynb (or 03, 04) there")
    table = pd.DataFrame(rows)
    tuned = _tuned_on_holdout(out, finished)
    table.insert(7, "hold-out F1 tuned", [tuned.get(run, np.nan) for run in table["run"]])
    return table.sort_values("val macro AP", ascending=False, kind="stable", ignore_index=True)


def _finished_row(out: Path, run: str) -> dict:
    result = store.load_json(out, f"runs/{run}/result.json")
    is_stale = store.stale_runs(out, [run]) != []
    scores = result.get("val_macro_ap"), result.get("val_macro_f1")
    if None in scores and not is_stale:  # a table of probabilities came without
        labels, probs, _ = store.load_scored(out, run, "val")
        preds = thresholds.apply(probs, 0.5, thresholds.FILL_EMPTY)
        scores = metrics.average_precision(labels, probs).mean(), metrics.macro_f1(labels, preds)
    best_epoch = result.get("best_epoch") or None  # 0: it was not trained in epochs
    return _row(run, result, best_epoch, scores, result.get("seconds"), "stale: another split" if is_stale else "")


def _begun_row(out: Path, run: str) -> dict:
    state = store.load_json(out, f"runs/{run}/checkpoints/state.json")
    history, settings = pd.DataFrame(state["history"]), state["settings"]
    scores = history.set_index("epoch").loc[state["best_epoch"], ["val_macro_ap", "val_macro_f1"]]
    is_stale = settings.get("split") != store.split_digest(out)
    note = f"unfinished: epoch {state['epoch']}" + (", stale: another split" if is_stale else "")
    return _row(run, settings, state["best_epoch"], scores, history["seconds"].sum(), note)


def _row(run: str, record: dict, best_epoch: float | None, scores: Sequence, seconds: float | None, note: str) -> dict:
    row = {"run": run, "network": record.get("model"), "recipe": record.get("recipe") or ""}
    numbers = record.get("epochs"), best_epoch, *scores, seconds
    names = ("epochs", "best epoch", "val macro AP", "val F1 at .5", "minutes")
    row |= {name: np.nan if value is None else float(value) for name, value in zip(names, numbers, strict=True)}
    return row | {"minutes": row["minutes"] / 60, "note": note}


def _tuned_on_holdout(out: Path, runs: Sequence[str]) -> dict[str, float]:
    """Run -> macro F1 with the recommended thresholds, unless a run or the split has changed since notebook 05."""
    names = "decisions/thresholds.json", "tables/thresholds.csv"
    if not all((out / name).exists() for name in names):
        return {}
    decision, table = store.load_json(out, names[0]), store.load_table(out, names[1])
    table = table[(table["name"] == decision["recommended"]) & (table["judged_on"] == "hold-out")]
    scores = {run: score for run, score in zip(table["run"], table["macro_f1"], strict=True) if run in runs}
    same = store.digest_runs(out, list(scores)) if scores else {}
    return {run: score for run, score in scores.items() if same[run] == decision["runs"].get(run)}
