"""Gathers what a run set has stored into the study's tables, and writes them with the figures as one HTML page."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import ensemble, intervals, metrics, store, thresholds
from hpa_lib import labels as label_names

# What is known of the original study: its best public score, of an ensemble of two submissions. The score of each of
# its steps is not at hand, so the tables leave those places empty instead of guessing.
STUDY_PUBLIC = {"ensemble of two submissions": 0.46}
WINNER_PUBLIC = 0.656

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .2rem .7rem; text-align: right }
th { border-bottom: 2px solid #444 } td:first-child, th:first-child { text-align: left }
tr:nth-child(even) { background: #f4f4f4 } img { max-width: 100% } .stamp { color: #D55E00; font-weight: bold }
"""


def judged_part(out: Path) -> tuple[str, str]:
    """The part that scores are given on and its name: the hold-out, or validation where there is none."""
    _, _, _, folds = store.load_split(out)
    return ("holdout", "hold-out") if (folds == -1).any() else ("val", "validation")


def load_answers(out: Path) -> dict[str, dict[str, np.ndarray]]:
    """Every finished run's answers on the judged part; read once, used by the tables below.

    Returns:
        run -> ``labels`` uint8 (N, 28), ``groups`` (N,), ``probs`` float32 (N, 28), and the label sets uint8 (N, 28) at
        plain .5 (``half``) and with the thresholds that notebook 05 recommends (``tuned``).

    Raises:
        MissingInput: notebook 05 has not seen a run.
    """
    part, _ = judged_part(out)
    decision = store.load_json(out, "decisions/thresholds.json")
    answers = {}
    for run in store.list_runs(out):
        if run not in decision["thresholds"]:
            raise store.MissingInput(
                f"decisions/thresholds.json does not know run {run}: run 05_threshold_tuning.ipynb"
            )
        ids, probs = store.load_probs(out, run, part)
        labels, groups = store.load_truth(out, ids)
        own = np.array(decision["thresholds"][run][decision["recommended"]])
        answers[run] = {
            "labels": labels,
            "groups": groups,
            "probs": probs,
            "half": thresholds.apply(probs, np.full(probs.shape[1], 0.5)),
            "tuned": thresholds.apply(probs, own, decision["fill_empty"]),
        }
    return answers


def _gain(own: dict, preds: np.ndarray, baseline: np.ndarray, names: tuple[str, str], draws: int, seed: int) -> dict:
    """Two scores under ``names``, their difference ``gain``, and its 95 % interval ``low``, ``high``."""
    labels = own["labels"]
    paired = intervals.paired(labels, preds, baseline, groups=own["groups"], draws=draws, seed=seed)
    scores = {names[0]: metrics.macro_f1(labels, baseline), names[1]: metrics.macro_f1(labels, preds)}
    return {**scores, "gain": paired["difference"], "low": paired["low"], "high": paired["high"]}


def run_table(out: Path, answers: dict) -> pd.DataFrame:
    """Every finished run with its settings, its cost and its scores on the judged part, one row a run.

    Columns: run, model, channels, class weights, start, best epoch, minutes, images/s, macro AP, F1 at .5, F1 tuned.
    """
    rows = []
    for run, own in answers.items():
        result = store.load_json(out, f"runs/{run}/result.json")
        labels = own["labels"]
        rows.append(
            {
                "run": run,
                "model": result["model"],
                "channels": result["channels"],
                "class weights": result["class_weights"],
                "start": result["weights"],
                "best epoch": int(result["best_epoch"]),
                "minutes": result["seconds"] / 60,
                "images/s": result["images_per_second"],
                "macro AP": metrics.average_precision(labels, own["probs"]).mean(),
                "F1 at .5": metrics.macro_f1(labels, own["half"]),
                "F1 tuned": metrics.macro_f1(labels, own["tuned"]),
            }
        )
    return pd.DataFrame(rows)


def weights_table(out: Path, answers: dict, runs: pd.DataFrame, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Each run with class weights beside its twin without: same settings otherwise. Empty where no run has a twin.

    Columns: model, class weights, F1 at .5 without, with, gain with its paired bootstrap interval (low, high).
    """
    settings = {run: _settings_but_weights(out, run) for run in runs["run"]}
    plain = {settings[run]: run for run in runs.loc[runs["class weights"] == "none", "run"]}
    rows = []
    for run in runs.loc[runs["class weights"] != "none", "run"]:
        twin = plain.get(settings[run])
        if twin is None:
            continue
        own = runs.set_index("run").loc[run]
        gain = _gain(answers[run], answers[run]["half"], answers[twin]["half"], ("without", "with"), draws, seed)
        rows.append({"model": own["model"], "class weights": own["class weights"], **gain})
    return pd.DataFrame(rows)


def _settings_but_weights(out: Path, run: str) -> str:
    result = store.load_json(out, f"runs/{run}/result.json")
    return str(sorted((result["settings"] | {"tta": result["tta"], "class_weights": ""}).items()))


def thresholds_table(answers: dict, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Each run at plain .5 and with its tuned thresholds: run, at .5, tuned, gain, low, high."""
    rows = []
    for run, own in answers.items():
        rows.append({"run": run, **_gain(own, own["tuned"], own["half"], ("at .5", "tuned"), draws, seed)})
    return pd.DataFrame(rows)


def summary_table(out: Path, runs: pd.DataFrame) -> pd.DataFrame:
    """The study in one small table: each run, then the ensembles, at plain .5 and with thresholds.

    Columns: model, at .5, with thresholds. The union is of the pair that notebook 06 united; the last row is what
    ``submission.csv`` holds.
    """
    decision = store.load_json(out, "decisions/ensemble.json")
    singles = zip(runs["run"], runs["F1 at .5"], runs["F1 tuned"], strict=True)
    rows = [{"model": run, "at .5": half, "with thresholds": tuned} for run, half, tuned in singles]
    members = decision["members"]
    part, _ = judged_part(out)
    loaded = {name: [store.load_probs(out, run, part) for run in own] for name, own in members.items()}
    ids, probs = ensemble.align({name: ensemble.join_folds(own) for name, own in loaded.items()})
    (labels, _), half = store.load_truth(out, ids), np.full(label_names.NUM_LABELS, 0.5)
    unions = ensemble.union([thresholds.apply(probs[name], half) for name in decision["pair"]])
    means = thresholds.apply(ensemble.mean(list(probs.values())), half)
    for name, preds in {"union of two": unions, "mean": means}.items():
        tuned = decision["macro_f1"][name]
        rows.append({"model": f"ensemble: {name}", "at .5": metrics.macro_f1(labels, preds), "with thresholds": tuned})
    chosen = decision["chosen"]
    rows.append({"model": f"submitted: {chosen}", "at .5": np.nan, "with thresholds": decision["macro_f1"][chosen]})
    return pd.DataFrame(rows)


def rare_table(out: Path, answers: dict, number: int = 10) -> pd.DataFrame:
    """How often the rarest classes are predicted at plain .5: class, images that carry it, one column a run."""
    _, labels, _, folds = store.load_split(out)
    rarest = np.argsort(labels[folds >= 0].sum(axis=0, dtype=int), kind="stable")[:number]
    table = pd.DataFrame({"class": [label_names.LABELS[one] for one in rarest]})
    for run, own in answers.items():
        table["true"] = own["labels"][:, rarest].sum(axis=0, dtype=int)
        table[run] = own["half"][:, rarest].sum(axis=0, dtype=int)
    return table


def study_table(summary: pd.DataFrame, synthetic: bool) -> pd.DataFrame:
    """What the original study and the competition's winner got on Kaggle's data, beside what this run set submits."""
    data = "this run set, SYNTHETIC data" if synthetic else "this run set, its own hold-out"
    own = summary.iloc[-1]  # chosen on validation, not for its score here
    rows = [
        (f"the study: {name}", "Kaggle's real test set, public part", score) for name, score in STUDY_PUBLIC.items()
    ]
    rows.append(("the competition's winner", "Kaggle's real test set, public part", WINNER_PUBLIC))
    rows.append((own["model"], data, own["with thresholds"]))
    return pd.DataFrame(rows, columns=["who", "measured on", "macro F1"])


def write_html(out: Path, title: str, sections: Sequence[tuple], synthetic: bool) -> Path:
    """``out/report.html``: one page that needs no other file.

    Args:
        out: the run set.
        title: of the page.
        sections: (heading, text, items); an item is a DataFrame or the name of a stored figure.
        synthetic: True puts the stamp on top.
    """
    parts = [f"<h1>{html.escape(title)}</h1>"]
    if synthetic:
        parts.append('<p class="stamp">SYNTHETIC DATA: no score on this page is a measurement of real cells.</p>')
    for heading, text, items in sections:
        parts.append(f"<h2>{html.escape(heading)}</h2><p>{html.escape(text)}</p>")
        parts += [_item(out, item) for item in items]
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>"
    text = page + "\n".join(parts) + "</html>\n"
    return store.write_atomic(Path(out) / "report.html", lambda path: path.write_text(text, encoding="utf-8"))


def _item(out: Path, item) -> str:
    if isinstance(item, pd.DataFrame):
        return item.to_html(index=False, float_format=lambda value: f"{value:.3f}", na_rep="", border=0)
    picture = base64.b64encode(store.need(out, f"figures/{item}.png").read_bytes()).decode()
    return f'<img alt="{html.escape(item)}" src="data:image/png;base64,{picture}">'
