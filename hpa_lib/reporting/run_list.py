"""All runs of a run set with what is stored of them, also those that are not finished or of another split."""

from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import store
from hpa_lib.decisions import metrics

COLUMNS = ("network", "recipe", "epochs", "best epoch", "val macro AP", "val F1 at .5", "minutes")
STORED = ("model", "recipe", "epochs", "best_epoch", "val_macro_ap", "val_macro_f1", "seconds")  # in result.json


def make_table(out: Path) -> pd.DataFrame:
    """One row per run, the best macro AP on validation first: the hold-out judges, it does not rank.

    Returns: run, ``COLUMNS``, hold-out F1 tuned where notebook 05 has scored this very run, and a note (empty,
        ``stale: another split`` or ``unfinished: epoch 3``).

    Raises: MissingInput where there is no run, or no split.
    """
    files = [*out.glob("runs/*/result.json"), *out.glob("runs/*/checkpoints/state.json")]
    runs = sorted({path.relative_to(out).parts[1] for path in files})
    if not runs:
        raise store.MissingInput(f"no run in {out}: run 00_data.ipynb and 02_train_densenet.ipynb (or 03, 04) there")
    table = pd.DataFrame([_make_row(out, run) for run in runs])
    tuned = _tuned_on_holdout(out, list(table["run"][table["note"] == ""]))
    table.insert(7, "hold-out F1 tuned", [tuned.get(run, np.nan) for run in table["run"]])
    table["minutes"] /= 60
    return table.sort_values("val macro AP", ascending=False, kind="stable", ignore_index=True)


def _make_row(out: Path, run: str) -> dict:
    """What is stored of a run; of an unfinished one, from the state after its last epoch."""
    if (out / "runs" / run / "result.json").exists():
        record, notes = store.load_json(out, f"runs/{run}/result.json"), []
    else:
        state = store.load_json(out, f"runs/{run}/checkpoints/state.json")
        best = next(row for row in state["history"] if row["epoch"] == state["best_epoch"])
        record = state["settings"] | best | {"best_epoch": state["best_epoch"]}
        record["seconds"] = sum(row["seconds"] for row in state["history"])
        notes = [f"unfinished: epoch {state['epoch']}"]
    if record.get("split") != store.split_digest(out):
        notes.append("stale: another split")
    elif "val_macro_ap" not in record:  # the run is a table of probabilities
        labels, probs, _ = store.load_scored(out, run, "val")
        record["val_macro_ap"] = metrics.average_precision(labels, probs).mean()
    values = [record.get(key) or np.nan for key in STORED]
    return {"run": run, **dict(zip(COLUMNS, values, strict=True)), "note": ", ".join(notes)}


def _tuned_on_holdout(out: Path, runs: list[str]) -> dict[str, float]:
    """Run -> macro F1 with the recommended thresholds, unless the run has changed since notebook 05."""
    if not (out / "decisions" / "thresholds.json").exists() or not (out / "tables" / "thresholds.csv").exists():
        return {}
    decision, table = store.load_json(out, "decisions/thresholds.json"), store.load_table(out, "tables/thresholds.csv")
    table = table[(table["name"] == decision["recommended"]) & (table["judged_on"] == "hold-out")]
    digests = store.digest_runs(out, runs)
    same = table["run"].map(lambda run: run in runs and digests[run] == decision["runs"].get(run))
    return dict(zip(table["run"][same], table["macro_f1"][same], strict=True))
