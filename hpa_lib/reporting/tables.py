"""Gathers what a run set has stored into the study's tables, and writes them with the figures as one HTML page."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import atlas, store
from hpa_lib.data import splits
from hpa_lib.decisions import bootstrap, ensemble, metrics, thresholds

# What is known of the original study: its best public score, of an ensemble of two submissions. The score of each of
# its steps is not at hand, so the tables leave those places empty instead of guessing.
STUDY_PUBLIC = {"ensemble of two submissions": 0.46}
WINNER_PUBLIC = 0.656

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; font-size: .9rem; display: block; overflow-x: auto }
td, th { padding: .2rem .7rem; text-align: right }
th { border-bottom: 2px solid #444 } td:first-child, th:first-child { text-align: left }
tr:nth-child(even) { background: #f4f4f4 } img { max-width: 100% } .stamp { color: #D55E00; font-weight: bold }
"""


def judged_part(out: Path) -> tuple[str, str]:
    """The part that scores are given on and its name: the hold-out, or validation where there is none."""
    _, _, _, folds = store.load_split(out)
    return ("holdout", "hold-out") if (folds == -1).any() else ("val", "validation")


def load_answers(out: Path) -> dict[str, dict[str, np.ndarray]]:
    """Every finished run's answers on the judged part; read once, used by the tables below.

    All label sets follow the one rule for empty rows that notebook 05 stored (see ``thresholds``); those named
    ``..._unfilled`` leave empty rows empty, to show what the rule does. Without a hold-out the tuned ones are
    cross-fitted, since nothing may be scored on the images it was tuned on.

    Returns:
        run -> ``labels`` uint8 (N, 28), ``groups`` (N,), ``probs`` float32 (N, 28), and the label sets uint8 (N, 28)
        ``half`` and ``half_unfilled`` at plain .5, ``tuned`` and ``tuned_unfilled`` with the recommended thresholds.

    Raises:
        MissingInput: notebook 05 has not run on the present runs.
    """
    part, _ = judged_part(out)
    decision = store.load_decision(out, "thresholds")
    answers = {}
    for run in sorted(decision["thresholds"]):
        ids, probs = store.load_probs(out, run, part)
        labels, groups = store.load_truth(out, ids)
        answer = {"labels": labels, "groups": groups, "probs": probs, "half_unfilled": thresholds.apply(probs, 0.5)}
        if part == "val":
            folds = splits.make_folds(labels, groups, decision["folds"], decision["seed"])
            tuned = thresholds.cross_fit(labels, probs, folds, decision["method"], **decision["options"])
        else:
            tuned = thresholds.apply(probs, np.array(decision["thresholds"][run][decision["recommended"]]))
        answer["tuned_unfilled"] = tuned
        for name in ("half", "tuned"):
            bare = answer[f"{name}_unfilled"]
            answer[name] = thresholds.fill_empty_rows(bare, probs) if decision["fill_empty"] else bare
        answers[run] = answer
    return answers


def notices(out: Path) -> list[str]:
    """What a reader of the scores must know: thresholds and rule, runs left out, test images without an answer."""
    decision, chosen = store.load_decision(out, "ensemble"), store.load_decision(out, "thresholds")
    rule = "get their most probable class" if chosen["fill_empty"] else "stay empty"
    sentences = [
        f"Thresholds: {chosen['recommended']} (chosen by {chosen['chosen_by']}). Images that no class reaches {rule}. "
        f"The union is of {' and '.join(decision['pair'])}."
    ]
    stale = store.stale_runs(out)
    unseen = [run for run in store.list_runs(out) if run not in chosen["thresholds"]]
    if stale:
        sentences.append(f"Left out, since they were trained on another split: {', '.join(stale)}.")
    if unseen:
        sentences.append(
            f"Left out, since notebook 05 did not take them (its RUNS, or it ran before): {', '.join(unseen)}."
        )
    if decision["dropped"]:
        sentences.append(
            f"{len(decision['dropped'])} test images could not be read; the submission gives them the commonest label "
            f"set, '{decision['fallback']}'."
        )
    if not store.load_json(out, "data/dataset.json")["test_images"]:
        sentences.append("There are no test images, so there is no submission.")
    return sentences


def _gain(answers: Sequence[dict], preds: str, baselines: Sequence[dict], baseline: str, draws: int, seed: int) -> dict:
    """The mean gain over seeds of label sets ``preds`` over ``baseline``, with an interval: see ``over_seeds``.

    Args:
        answers, baselines: one answer for each seed, in the same order and on the same images.
        preds, baseline: the keys of the label sets to compare.
    """
    values, resampled = [], []
    for answer, other in zip(answers, baselines, strict=True):
        options = {"groups": answer["groups"], "draws": draws, "seed": seed}
        gains, value = bootstrap.resample_gains(answer["labels"], answer[preds], other[baseline], **options)
        values.append(value)
        resampled.append(gains)
    gain = bootstrap.over_seeds(np.array(values), np.array(resampled))
    return {"gain": gain["estimate"], "low": gain["low"], "high": gain["high"], "each seed": _signed(values)}


def _signed(values: Sequence[float]) -> str:
    return " ".join(f"{value:+.3f}" for value in values)


def _mean_f1(answers: Sequence[dict], preds: str) -> float:
    return float(np.mean([metrics.macro_f1(answer["labels"], answer[preds]) for answer in answers]))


def run_table(out: Path, answers: dict) -> pd.DataFrame:
    """Every finished run with its settings, its cost and its scores on the judged part, one row per run.

    Columns: run, model, channels, class weights, start, best epoch, minutes, images/s, macro AP, F1 at .5, the same
    with empty rows left empty (unfilled), F1 tuned.
    """
    rows = []
    for run, answer in answers.items():
        result = store.load_json(out, f"runs/{run}/result.json")
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
                "macro AP": metrics.average_precision(answer["labels"], answer["probs"]).mean(),
                "F1 at .5, unfilled": metrics.macro_f1(answer["labels"], answer["half_unfilled"]),
                "F1 at .5": metrics.macro_f1(answer["labels"], answer["half"]),
                "F1 tuned": metrics.macro_f1(answer["labels"], answer["tuned"]),
            }
        )
    return pd.DataFrame(rows)


def weights_table(out: Path, answers: dict, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Runs with class weights against their twins without: same settings otherwise, at plain .5. Empty without twins.

    Columns: model, class weights, seeds (how many), without, with (means over the seeds), gain with its 95 % interval
    (low, high; images and, from two seeds on, seeds), each seed's gain, and the gain where empty rows stay empty.
    """
    plain, weighted = {}, {}
    for run in answers:
        result = store.load_json(out, f"runs/{run}/result.json")
        scheme, settings = result["class_weights"], _settings_but_weights_and_seed(result)
        of_seeds = plain.setdefault(settings, {}) if scheme == "none" else weighted.setdefault((settings, scheme), {})
        of_seeds[result["seed"]] = run
    rows = []
    for (settings, scheme), of_seeds in weighted.items():
        seeds = sorted(of_seeds.keys() & plain.get(settings, {}).keys())
        if not seeds:
            continue
        with_weights = [answers[of_seeds[number]] for number in seeds]
        twins = [answers[plain[settings][number]] for number in seeds]
        model = store.load_json(out, f"runs/{of_seeds[seeds[0]]}/result.json")["model"]
        row = {"model": model, "class weights": scheme, "seeds": len(seeds)}
        row |= {"without": _mean_f1(twins, "half"), "with": _mean_f1(with_weights, "half")}
        row |= _gain(with_weights, "half", twins, "half", draws, seed)
        unfilled = _mean_f1(with_weights, "half_unfilled") - _mean_f1(twins, "half_unfilled")
        rows.append({**row, "gain, unfilled": unfilled})
    return pd.DataFrame(rows)


def _settings_but_weights_and_seed(result: dict) -> str:
    same = {"tta": result["tta"], "class_weights": "", "seed": 0}
    return str(sorted((result["settings"] | same).items()))


def thresholds_table(answers: dict, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Each run at plain .5 and with its tuned thresholds, one row per run, so every seed is shown.

    Columns: run, at .5, tuned, gain with its paired 95 % interval (low, high), and the same gain where empty rows stay
    empty (unfilled).
    """
    rows = []
    for run, answer in answers.items():
        gain = _gain([answer], "tuned", [answer], "half", draws, seed)
        unfilled = _mean_f1([answer], "tuned_unfilled") - _mean_f1([answer], "half_unfilled")
        row = {"run": run, "at .5": _mean_f1([answer], "half"), "tuned": _mean_f1([answer], "tuned")}
        row |= {name: gain[name] for name in ("gain", "low", "high")}
        rows.append({**row, "gain, unfilled": unfilled})
    return pd.DataFrame(rows)


def summary_table(out: Path, runs: pd.DataFrame) -> pd.DataFrame:
    """The study in one small table: each run, then the ensembles, at plain .5 and with thresholds.

    Columns: model, at .5, with thresholds. The union is of the pair that notebook 06 united; the last row is the
    ensemble that notebook 06 chose, which ``submission.csv`` holds where there are test images.
    """
    decision = store.load_decision(out, "ensemble")
    singles = zip(runs["run"], runs["F1 at .5"], runs["F1 tuned"], strict=True)
    rows = [{"model": run, "at .5": half, "with thresholds": tuned} for run, half, tuned in singles]
    members = decision["members"]
    part, fill = judged_part(out)[0], decision["fill_empty"]
    loaded = {name: [store.load_probs(out, run, part) for run in joined] for name, joined in members.items()}
    ids, probs = ensemble.align({name: ensemble.join_folds(fold_probs) for name, fold_probs in loaded.items()})
    labels, _ = store.load_truth(out, ids)
    unions = ensemble.union([thresholds.apply(probs[name], 0.5, fill) for name in decision["pair"]])
    means = thresholds.apply(ensemble.mean(list(probs.values())), 0.5, fill)
    for name, preds in {"union of two": unions, "mean": means}.items():
        tuned = decision["macro_f1"][name]
        rows.append({"model": f"ensemble: {name}", "at .5": metrics.macro_f1(labels, preds), "with thresholds": tuned})
    chosen = decision["chosen"]
    rows.append({"model": f"chosen: {chosen}", "at .5": np.nan, "with thresholds": decision["macro_f1"][chosen]})
    return pd.DataFrame(rows)


def rare_table(out: Path, answers: dict, number: int = 10) -> pd.DataFrame:
    """How often the rarest classes are predicted at plain .5: class, true (images that have it), one column per run."""
    _, labels, _, folds = store.load_split(out)
    rarest = np.argsort(labels[folds >= 0].sum(axis=0, dtype=int), kind="stable")[:number]
    table = pd.DataFrame({"class": [atlas.LABELS[label] for label in rarest]})
    for run, answer in answers.items():
        table["true"] = answer["labels"][:, rarest].sum(axis=0, dtype=int)
        table[run] = answer["half"][:, rarest].sum(axis=0, dtype=int)
    return table


def study_table(summary: pd.DataFrame, judged_on: str, synthetic: bool) -> pd.DataFrame:
    """What the original study and the competition's winner got on Kaggle's data, beside this run set's choice."""
    data = f"this run set, {judged_on}{', SYNTHETIC data' if synthetic else ''}"
    ours = summary.iloc[-1]
    rows = [
        (f"the study: {name}", "Kaggle's real test set, public part", score) for name, score in STUDY_PUBLIC.items()
    ]
    rows.append(("the competition's winner", "Kaggle's real test set, public part", WINNER_PUBLIC))
    rows.append((ours["model"], data, ours["with thresholds"]))
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
