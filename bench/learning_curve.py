"""How many images and epochs does a network need to reach the baseline of measured features?

    python bench/learning_curve.py OUT --size 96 --networks resnet18 --images 450 900 1800 --epochs 20 --longer 5 10 40

OUT is a run set in which notebook 00 has run; its fold 0 validates, its hold-out judges. Every network is trained with
``--recipe`` on each number of training images for ``--epochs`` epochs, and on all of them for each of ``--longer``
epochs; scikit-learn's logistic regression (``hpa_lib/classical``) learns from the very same images. Smaller numbers are
among the larger, and whole groups are taken. Macro F1 is at .5 with empty rows filled, and with bagged thresholds
tuned on validation. Writes ``OUT/tables/learning_curve.csv`` after each point and ``OUT/figures/learning_curve.png``;
a second call goes on where the first was stopped, and adds what is new. One seed: points of one curve differ in the
choice of images and in chance.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import models as networks
from hpa_lib import store
from hpa_lib.classical import models
from hpa_lib.decisions import metrics, thresholds
from hpa_lib.figures import style
from hpa_lib.training import loop, predict, recipes, runs

TABLE = "tables/learning_curve.csv"
POINT = ["model", "recipe", "images", "epochs"]


def score(val: models.Part, judge: models.Part, val_probs: np.ndarray, probs: np.ndarray) -> dict[str, float]:
    """Macro AP and macro F1 on the judging part, at .5 and with thresholds tuned on validation."""
    tuned = thresholds.tune(val.labels, val_probs, "bagged")
    preds = {name: thresholds.apply(probs, limits, True) for name, limits in (("f1_at_half", 0.5), ("f1_tuned", tuned))}
    scores = {name: metrics.macro_f1(judge.labels, found) for name, found in preds.items()}
    return {"macro_ap": metrics.average_precision(judge.labels, probs).mean()} | scores


def score_baseline(parts: dict[str, models.Part], chosen: np.ndarray) -> dict[str, float]:
    """Logistic regression on the ``chosen`` (bool) training images."""
    fitted = models.fit(parts["train"].values[chosen], parts["train"].labels[chosen], model="logistic", value=1)
    val_probs, probs = (models.predict(fitted, parts[part].values) for part in ("val", "holdout"))
    return score(parts["val"], parts["holdout"], val_probs, probs)


def score_network(run: runs.Run, fold: runs.Fold, parts: dict[str, models.Part], chosen: np.ndarray) -> dict:
    """A network trained on the ``chosen`` (bool) training images; ``train_macro_ap`` is of those."""
    ids = parts["train"].ids[chosen]
    fold = fold._replace(rows=fold.rows | {"train": np.flatnonzero(np.isin(fold.ids, ids))})
    model, origin = runs.build(run, fold)
    resolved, folder = runs.resolve(run, origin), run.out / "learning_curve" / f"{run.name}-{len(ids)}"
    train_part, val_part = runs.make_batches(run, fold, resolved["batch_size"], resolved["workers"])
    loop.fit(
        model, train_part, val_part, folder,
        class_weights=runs.class_weights(run, fold), settings=runs.settings(run, origin) | {"images": len(ids)},
    )  # fmt: skip
    turns = run.lines["tta"]
    probs = {part: predict.predict_probs(model, fold.images, fold.rows[part], turns) for part in ("val", "holdout")}
    by_id = {
        part: pd.Series(range(len(rows)), fold.ids[rows])[parts[part].ids]
        for part, rows in fold.rows.items()
        if part != "train"
    }
    found = score(parts["val"], parts["holdout"], *(probs[part][by_id[part]] for part in ("val", "holdout")))
    return found | {"train_macro_ap": runs.evaluate_training_part(run, fold, model)["macro_ap"]}


def draw(table: pd.DataFrame, epochs: int, synthetic: bool):
    """Macro AP against training images at ``epochs`` epochs (left), and against epochs on all images (right)."""
    fig, axes = style.new_figure(10, 4, ncols=2, sharey=True)
    baseline, trained = table[table["epochs"] == 0], table[table["epochs"] > 0]
    curves = trained.assign(curve=trained["model"] + ", " + trained["recipe"]).groupby("curve", sort=False)
    most = table["images"].max()
    axes[0].plot(baseline["images"], baseline["macro_ap"], "k^--", label="logistic regression, 59 features")
    for look, (curve, rows) in zip(style.marks(len(curves)), curves, strict=True):
        left, right = (
            rows[rows["epochs"] == epochs].sort_values("images"),
            rows[rows["images"] == most].sort_values("epochs"),
        )
        axes[0].plot(left["images"], left["macro_ap"], label=f"{curve}, {epochs} epochs", **look)
        axes[1].plot(right["epochs"], right["macro_ap"], **look)
    axes[1].axhline(baseline["macro_ap"].max(), color="black", linestyle="--")
    for ax, column, label in zip(axes, ("images", "epochs"), ("training images", "epochs on all images"), strict=True):
        ticks = sorted(set(table.loc[table[column] > 0, column]))
        ax.set(xscale="log", xlabel=f"{label} (log scale)", ylim=(0, 1))
        ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        ax.minorticks_off()
    axes[0].set_ylabel("macro AP on the hold-out")
    axes[0].legend(fontsize=8)
    return style.caption(
        fig, "Left: the same images for all. Right: each point is a run of its own. One seed.", synthetic
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--networks", nargs="*", default=["resnet18"], choices=networks.MODELS)
    parser.add_argument("--recipe", default="best")
    parser.add_argument("--size", type=int, default=128, help="pixels, a cached size")
    parser.add_argument("--images", type=int, nargs="*", default=[], help="training images, besides all of them")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--longer", type=int, nargs="*", default=[], help="other numbers of epochs, on all images")
    options = parser.parse_args()
    parts = models.load_parts(options.out, options.size, 0)
    is_synthetic = store.load_json(options.out, "data/dataset.json")["synthetic"]
    everything, stored = len(parts["train"].ids), options.out / TABLE
    table = store.load_table(options.out, TABLE) if stored.exists() else pd.DataFrame(columns=POINT)
    points = [("logistic", "none", number, 0) for number in [*options.images, everything]]
    for network in options.networks:
        numbers = [(number, options.epochs) for number in [*options.images, everything]]
        numbers += [(everything, epochs) for epochs in options.longer]
        points += [(network, options.recipe, *number) for number in numbers]
    for model, recipe, wanted, epochs in points:
        chosen = models.choose_images(parts["train"].groups, wanted, seed=0)
        point = dict(zip(POINT, (model, recipe, int(chosen.sum()), epochs), strict=True))
        if (table[POINT] == point).all(axis=1).any():
            continue
        start = time.monotonic()
        if epochs:
            lines = {"out": str(options.out), "image_size": options.size, "epochs": epochs, "weights": "scratch"}
            lines |= networks.BLOCK_LINES.get(model, {}) | {"run": f"{model}-{recipe}-{epochs}".replace(" ", "-").replace(",", "")}
            run = runs.prepare(model, recipes.complete(recipe, lines))
            found = score_network(run, runs.load_fold(run), parts, chosen)
        else:
            found = score_baseline(parts, chosen)
        found["minutes"] = (time.monotonic() - start) / 60
        table = pd.concat([table, pd.DataFrame([point | found])], ignore_index=True)
        store.save_table(options.out, TABLE, table)
        print(
            {
                name: value if isinstance(value, str | int) else round(value, 3)
                for name, value in (point | found).items()
            }
        )
    store.save_figure(options.out, "learning_curve", draw(table, options.epochs, is_synthetic))
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
