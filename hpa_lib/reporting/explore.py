"""Look into a finished run: which images it got wrong, how sure it was, and which look alike to it.

Everything here works on stored results. Images, embeddings and the network are optional: a run set that was copied
without its cache has no images, a run that was not trained here has neither embeddings nor a network.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors

from hpa_lib import atlas, store
from hpa_lib.data import cache
from hpa_lib.decisions import calibration, metrics, thresholds
from hpa_lib.reporting import run_list, tables

PARTS = {"val": "validation", "holdout": "hold-out"}
ERRORS = ("all", "missed", "false", "right", "rare")
ANY = -1  # in place of a class number: whatever class


class Found(NamedTuple):
    """What is stored of one run on the N images of validation and hold-out."""

    out: Path
    run: str
    ids: np.ndarray  # str (N,)
    parts: np.ndarray  # str (N,), "val" or "holdout"
    labels: np.ndarray  # uint8 (N, 28)
    probs: np.ndarray  # float32 (N, 28)
    thresholds: np.ndarray  # float (28,)
    fill_empty: bool  # an image that no class reaches gets its most probable one
    images: np.ndarray | None  # the cache, uint8 (M, S, S, 4), mapped from disk
    cache_rows: np.ndarray | None  # int (N,), the rows of the images in it
    embeddings: np.ndarray | None  # float16 (N, F)
    is_synthetic: bool
    drawn: dict  # of synthetic data: size (px) and um_per_px with which the generator drew it
    rarest: np.ndarray  # int (10,), the rarest classes outside the hold-out


def load(out: Path, run: str = "") -> Found:
    """What is stored of ``run``, by default the best network; raises as ``choose_runs`` and ``thresholds.load``."""
    out = Path(out)
    run = store.choose_runs(out, run or best_run(out))[0]
    stored = [part for part in PARTS if (store.run_folder(out, run) / f"probs_{part}.npz").exists()]
    pairs = [store.load_probs(out, run, part) for part in stored]
    ids, probs = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
    parts = np.repeat(stored, [len(part_ids) for part_ids, _ in pairs])
    labels, _ = store.load_truth(out, ids)
    images, rows = _find_images(out, run, ids)
    embeddings = _load_embeddings(out, run, stored, ids)
    data, rarest = store.load_json(out, "data/dataset.json"), tables.rarest_classes(out)
    answers = (ids, parts, labels, probs, *thresholds.load(out, run))
    seen = (images, rows, embeddings)
    return Found(out, run, *answers, *seen, data["synthetic"], data.get("drawn", {}), rarest)


def best_run(out: Path) -> str:
    """The finished run with the best macro AP on validation: a network, where there is one."""
    table = run_list.make_table(out)
    table = table[table["note"] == ""]
    networks = table[table["epochs"].notna()]
    if table.empty:
        store.list_runs(out)  # says why there is none
    return (table if networks.empty else networks)["run"].iloc[0]


def _find_images(out: Path, run: str, ids: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The cache of the run's image size (of any size, where the run names none), or None twice."""
    size = store.load_json(out, f"runs/{run}/result.json").get("image_size", "*")
    for folder in sorted(Path(out).glob(f"cache/train_{size}")):
        try:
            cache_ids, images = cache.load(folder)
            return images, cache.find_rows(cache_ids, ids)
        except (OSError, ValueError) as error:  # all else can be looked at
            print(f"the images are left out: {error}")
    return None, None


def _load_embeddings(out: Path, run: str, parts: list[str], ids: np.ndarray) -> np.ndarray | None:
    names = [f"runs/{run}/embeddings_{part}.npz" for part in parts]
    if not all((Path(out) / name).exists() for name in names):
        return None
    pairs = [store.load_arrays(out, name, ("ids", "embeddings")) for name in names]
    stored_ids, embeddings = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
    return embeddings if np.array_equal(stored_ids, ids) else None  # left by an earlier run of this name


def judged_part(found: Found) -> str:
    """``holdout``, or ``val`` where the run set has no hold-out."""
    return "holdout" if (found.parts == "holdout").any() else "val"


def describe(found: Found) -> str:
    """One line: the run, how many images, whose thresholds, and what is missing and therefore left out."""
    number = {name: (found.parts == part).sum() for part, name in PARTS.items()}
    text = f"run {found.run}: " + ", ".join(f"{count} {name} images" for name, count in number.items() if count)
    text += " | thresholds: " + (".5 for all" if (found.thresholds == 0.5).all() else "those of notebook 05")
    lacks = {"no cached images": found.images is None, "no embeddings": found.embeddings is None}
    lacks["no network"] = not can_explain(found)
    missing = [name for name, is_missing in lacks.items() if is_missing]
    return f"{text} | {', '.join(missing)}: their views are left out" if missing else text


def predict(found: Found) -> np.ndarray:
    """The label sets with the thresholds in force, uint8 (N, 28)."""
    return thresholds.apply(found.probs, found.thresholds, found.fill_empty)


def select(found: Found, part: str, label: int = ANY, error: str = "all", label_set: str | None = None) -> np.ndarray:
    """The rows of the images to look at, int (M,).

    Args:
        part: ``val`` or ``holdout``.
        label: a class number; ``ANY``: an image counts if any of its classes does.
        error: ``missed`` (the image has the label, which is not predicted), ``false`` (predicted, but not true),
            ``right`` (true and predicted), ``rare`` (true, and among the ten rarest classes), ``all`` (true or
            predicted); a ValueError for any other.
        label_set: only images with exactly these labels, such as ``"0 16"``.
    """
    labels, preds = found.labels.astype(bool), predict(found).astype(bool)
    is_rare = np.isin(np.arange(atlas.NUM_LABELS), found.rarest)
    cases = {"all": labels | preds, "missed": labels & ~preds, "false": preds & ~labels, "right": labels & preds}
    cases["rare"] = labels & is_rare
    if error not in cases:
        raise ValueError(f"kind of error {error!r}: use one of {', '.join(ERRORS)}")
    hits = cases[error].any(axis=1) if label == ANY else cases[error][:, label]
    if label_set is not None:
        hits &= (found.labels == atlas.parse_target(label_set)).all(axis=1)
    return np.flatnonzero(hits & (found.parts == part))


def worst(found: Found, part: str, label: int = ANY, number: int = 24) -> pd.DataFrame:
    """The mistakes of which the network was most sure: one row per image and wrong class, the surest first.

    How sure is measured on the logit scale, from the class's threshold to the probability, on the wrong side of it: so
    a miss of a rare class and a false common one can be compared. A false label that fills an empty image is below its
    threshold, and counts as not sure at all (below 0).

    Returns: row, Id, class (its number), error (missed or false), probability, threshold, sure.
    """
    preds, margins = predict(found), calibration.logit(found.probs) - calibration.logit(found.thresholds)
    rows, classes = np.nonzero((preds != found.labels) & (found.parts == part)[:, None])
    is_false = preds[rows, classes] == 1
    table = pd.DataFrame({"row": rows, "Id": found.ids[rows], "class": classes})
    table["error"] = np.where(is_false, "false", "missed")
    table["probability"], table["threshold"] = found.probs[rows, classes], found.thresholds[classes]
    table["sure"] = np.where(is_false, 1, -1) * margins[rows, classes]
    table = table if label == ANY else table[table["class"] == label]
    return table.sort_values("sure", ascending=False, kind="stable", ignore_index=True).head(number)


def name_errors(found: Found, row: int) -> str:
    """What is right, missed and false about one image, in words."""
    labels = found.labels[row].astype(bool)
    preds = thresholds.apply(found.probs[[row]], found.thresholds, found.fill_empty)[0].astype(bool)
    kinds = {"": labels & preds, "missed: ": labels & ~preds, "false: ": preds & ~labels}
    return "; ".join(word + name_labels(is_it) for word, is_it in kinds.items() if is_it.any())


def name_labels(row: np.ndarray) -> str:
    """The names of the labels of a 0/1 row (28,), separated by commas."""
    return ", ".join(atlas.LABELS[number] for number in np.flatnonzero(row))


def score(found: Found, part: str, label: int) -> dict[str, float]:
    """``precision``, ``recall`` and ``f1`` of one class and the ``macro_f1`` of all, with the thresholds in force."""
    inside = found.parts == part
    counts = metrics.confusion_counts(found.labels[inside], predict(found)[inside])
    true_positives, false_positives, false_negatives = counts
    precision = metrics.divide(true_positives, true_positives + false_positives)
    recall = metrics.divide(true_positives, true_positives + false_negatives)
    f1 = metrics.f1_of_counts(*counts)
    scores = {"precision": precision[label], "recall": recall[label], "f1": f1[label], "macro_f1": f1.mean()}
    return {name: float(value) for name, value in scores.items()}


def curve(found: Found, part: str, label: int, points: int = 101) -> pd.DataFrame:
    """``score`` at evenly spaced thresholds of one class, the other 27 as they are: one row per ``threshold``.

    With ``fill_empty`` a threshold also changes other classes, so every row is scored as a whole: images that it
    leaves empty get their most probable class.
    """
    rows, inside = [], found.parts == part
    part_of = found._replace(parts=found.parts[inside], labels=found.labels[inside], probs=found.probs[inside])
    for threshold in np.linspace(0, 1, points):
        rows.append({"threshold": threshold, **score(with_threshold(part_of, label, threshold), part, label)})
    return pd.DataFrame(rows)


def with_threshold(found: Found, label: int, threshold: float) -> Found:
    """The same with another threshold for one class."""
    changed = found.thresholds.copy()
    changed[label] = threshold
    return found._replace(thresholds=changed)


def confusion(found: Found, part: str) -> np.ndarray:
    """What is predicted in place of what is missed, int (28, 28).

    Row i, column j: the images that have label i, for which i was missed and j was predicted though it is not true.
    An image with two wrong classes counts in two columns; one whose miss has no false label beside it, in none.
    """
    inside = found.parts == part
    labels, preds = found.labels[inside].astype(int), predict(found)[inside].astype(int)
    return (labels * (1 - preds)).T @ (preds * (1 - labels))


def neighbours(embeddings: np.ndarray, row: int, k: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` images most alike to image ``row`` for the network: rows int (k,), cosine distances (k,) ascending."""
    points = embeddings.astype(np.float32)
    search = NearestNeighbors(n_neighbors=min(k + 1, len(points)), metric="cosine").fit(points)
    distances, rows = (array[0] for array in search.kneighbors(points[[row]]))
    others = rows != row
    return rows[others][:k], distances[others][:k]


def embedding_map(embeddings: np.ndarray, method: str = "pca", seed: int = 0) -> np.ndarray:
    """The images as points of a plane, float (N, 2): near ones look alike to the network.

    Args:
        embeddings: float16 (N, F).
        method: ``pca`` (linear, fast) or ``tsne`` (keeps neighbours together; distances between groups mean little;
            minutes for thousands of images); a ValueError for any other.
    """
    if method not in ("pca", "tsne"):
        raise ValueError(f"method {method!r}: use pca or tsne")
    perplexity = min(30, (len(embeddings) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    return (tsne if method == "tsne" else PCA(2, random_state=seed)).fit_transform(embeddings.astype(np.float32))


def images_of(found: Found, rows: np.ndarray) -> np.ndarray:
    """The cached images of some rows, uint8 (len(rows), S, S, 4)."""
    return found.images[found.cache_rows[rows]]


def can_explain(found: Found) -> bool:
    """True where both the network and the images that it saw are stored."""
    return found.images is not None and (store.run_folder(found.out, found.run) / "model.keras").exists()


def heat_maps(found: Found, images: np.ndarray, label: int) -> np.ndarray:
    """Where the network looks for one class in images (N, S, S, 4): ``explain.fine_grad_cam``, float32 (N, S, S)."""
    from hpa_lib.training import explain  # Keras takes seconds to import

    return explain.fine_grad_cam(_load_model(found.out, found.run), images, label)


def localise(found: Found, images: np.ndarray, labels: np.ndarray, masks: np.ndarray, covered: int) -> pd.DataFrame:
    """``training.explain.localise`` of the network, with the columns ``run`` and ``digest`` (``store.digest_runs``)."""
    from hpa_lib.training import explain

    table = explain.localise(_load_model(found.out, found.run), images, labels, masks, covered)
    return table.assign(run=found.run, digest=store.digest_runs(found.out, [found.run])[found.run])


def um_per_px(found: Found) -> float:
    """Micrometres per pixel of the cached images, 0 where they are not known (real data, no images)."""
    if found.images is None or not found.drawn:
        return 0.0
    return found.drawn["um_per_px"] * found.drawn["size"] / found.images.shape[1]


@functools.lru_cache(maxsize=1)
def _load_model(out: Path, run: str):
    from hpa_lib.training import device, runs

    device.setup()
    return runs.load(out, run).model
