"""How many images and epochs does a network need to reach the baseline of measured features?

    python bench/learning_curve.py OUT --size 96 --network resnet18 --points 3600:10 3600:22 0:4 --baseline 450 900 1800

OUT is a run set in which notebook 00 has run; its fold 0 validates, its hold-out judges. A point ``3600:22`` is a
network trained on 3,600 training images for 22 epochs (0: all images). Scikit-learn's logistic regression
(``hpa_lib/classical``) learns from the very same images, and from the numbers of ``--baseline``. Smaller numbers are
among the larger, and whole groups are taken. Macro F1 is at .5 with empty rows filled, and with bagged thresholds
tuned on validation. Writes ``OUT/tables/learning_curve.csv`` after each point and ``OUT/figures/learning_curve.png``;
a second call goes on where the first was stopped, and adds what is new. One seed: points differ in the choice of
images and in chance.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import scores

from hpa_lib import models as networks
from hpa_lib import store
from hpa_lib.classical import models
from hpa_lib.data import cache
from hpa_lib.figures import style
from hpa_lib.training import loop, predict, recipes, runs

TABLE = "tables/learning_curve.csv"
POINT = ["model", "recipe", "size", "images", "epochs"]


def score(parts: dict[str, models.Part], probs: dict[str, np.ndarray]) -> dict[str, float]:
    """The scores on the hold-out, under the table's names."""
    found, _ = scores.score(parts["val"].labels, probs["val"], parts["holdout"].labels, probs["holdout"])
    return {"macro_ap": found["AP"], "f1_at_half": found["F1 at .5"], "f1_tuned": found["F1 tuned"]}


def score_baseline(parts: dict[str, models.Part], chosen: np.ndarray) -> dict[str, float]:
    """Logistic regression on the ``chosen`` (bool) training images."""
    fitted = models.fit(parts["train"].values[chosen], parts["train"].labels[chosen], model="logistic", value=1)
    return score(parts, {part: models.predict(fitted, parts[part].values) for part in ("val", "holdout")})


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
    for part, found in probs.items():  # in the order of the measured features
        probs[part] = found[cache.find_rows(fold.ids[fold.rows[part]], parts[part].ids)]
    return score(parts, probs) | {"train_macro_ap": runs.evaluate_training_part(run, fold, model)["macro_ap"]}


def draw(table: pd.DataFrame, synthetic: bool):
    """Macro AP against training images: the baseline's curve, and the networks' points with their epochs."""
    fig, ax = style.new_figure(7.2, 4.2)
    baseline, trained = table[table["epochs"] == 0].sort_values("images"), table[table["epochs"] > 0]
    ax.plot(baseline["images"], baseline["macro_ap"], "k^--", label="logistic regression on 59 measured features")
    curves = trained.groupby(trained["model"] + ", " + trained["recipe"], sort=False)
    for look, (name, rows) in zip(style.marks(len(curves)), curves, strict=True):
        ax.plot(rows["images"], rows["macro_ap"], label=name, **look | {"linestyle": ""})
        place = {"xytext": (6, -3), "textcoords": "offset points", "fontsize": 8}
        for row in rows.itertuples():
            ax.annotate(f"{row.epochs} epochs", (row.images, row.macro_ap), **place)
    ticks = sorted(set(table["images"]))
    ax.set(xscale="log", xlabel="training images (log scale)", ylabel="macro AP on the hold-out", ylim=(0, 1))
    ax.set(xlim=(ticks[0] / 1.2, ticks[-1] * 1.6))
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.minorticks_off()
    ax.legend(loc="upper left")
    return style.caption(fig, "Baseline and network at one number learn from the same images. One seed.", synthetic)


def read_point(text: str) -> tuple[int, int]:
    """Training images and epochs of ``"3600:22"``."""
    images, _, epochs = text.partition(":")
    if not (images.isdigit() and epochs.isdigit() and int(epochs)):
        raise argparse.ArgumentTypeError(f"{text!r}: write IMAGES:EPOCHS, such as 3600:22")
    return int(images), int(epochs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--network", default="resnet18", choices=networks.MODELS)
    parser.add_argument("--recipe", default="best")
    parser.add_argument("--size", type=int, default=96, help="pixels, a cached size")
    point = {"type": read_point, "metavar": "IMAGES:EPOCHS", "help": "0: all images"}
    parser.add_argument("--points", nargs="*", default=[], **point)
    parser.add_argument("--baseline", type=int, nargs="*", default=[], metavar="IMAGES", help="further ones")
    options = parser.parse_args()
    try:
        run_points(options)
    except (ValueError, OSError) as error:
        parser.error(str(error))


def run_points(options: argparse.Namespace) -> None:
    """Train and judge what the table lacks, then draw it."""
    parts = models.load_parts(options.out, options.size, 0)
    everything, stored = len(parts["train"].ids), options.out / TABLE
    is_synthetic = store.load_json(options.out, "data/dataset.json")["synthetic"]
    table = store.load_table(options.out, TABLE) if stored.exists() else pd.DataFrame(columns=POINT)
    points = [(images or everything, epochs) for images, epochs in options.points]
    numbers = sorted({*options.baseline, everything, *(images for images, _ in points)})
    wanted = [("logistic", "none", number, 0) for number in numbers]
    wanted += [(options.network, options.recipe, *point) for point in points]
    for model, recipe, images, epochs in wanted:
        chosen = models.choose_images(parts["train"].groups, images, seed=0)
        point = dict(zip(POINT, (model, recipe, options.size, int(chosen.sum()), epochs), strict=True))
        if (table[POINT] == point).all(axis=1).any():
            continue
        start = time.monotonic()
        if epochs:
            lines = {"out": str(options.out), "image_size": options.size, "epochs": epochs, "weights": "scratch"}
            name = f"{model}-{recipe}-{options.size}px-{epochs}".replace(" ", "-").replace(",", "")
            lines |= networks.BLOCK_LINES.get(model, {}) | {"run": name}
            run = runs.prepare(model, recipes.complete(recipe, lines))
            found = score_network(run, runs.load_fold(run), parts, chosen)
        else:
            found = score_baseline(parts, chosen)
        found["minutes"] = (time.monotonic() - start) / 60
        table = pd.concat([table, pd.DataFrame([point | found])], ignore_index=True)
        store.save_table(options.out, TABLE, table)
        print(table.tail(1).round(3).to_string(index=False, header=False), flush=True)
    store.save_figure(options.out, "learning_curve", draw(table, is_synthetic))
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
