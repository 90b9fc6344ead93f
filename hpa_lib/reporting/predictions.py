"""What a run predicts of new images: three tables, and a page with a thumbnail and the labels of each image."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import atlas, store
from hpa_lib.data.kaggle import Finding
from hpa_lib.decisions import thresholds
from hpa_lib.reporting import page

FILES = ("probs.csv", "labels.csv", "findings.csv", "page.html")
MOST = 1000  # images on a page, which is about 5 MB then
STYLE = """
.images { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: 1.2rem }
.images figure { margin: 0; break-inside: avoid } .images img { width: 6rem }
.images ul { margin: 0; padding: 0; list-style: none; font-size: .85rem }
"""


def write_tables(
    out: Path, ids: Sequence[str], probs: np.ndarray, preds: np.ndarray, findings: Sequence[Finding]
) -> None:
    """Store ``probs.csv`` (Id, 28 classes), ``labels.csv`` (Id, Predicted, names) and ``findings.csv`` in ``out``.

    Args:
        ids: str (N,).
        probs, preds: (N, 28), in their order.
        findings: of ``image_files.read_images``.
    """
    for name in FILES:  # an interrupted command leaves no table of one run beside that of another
        (out / name).unlink(missing_ok=True)
    names = ["; ".join(atlas.LABELS[label] for label in np.flatnonzero(row)) for row in preds]
    labels = {"Id": ids, "Predicted": [atlas.format_target(row) for row in preds], "names": names}
    store.save_table(out, "probs.csv", pd.DataFrame({"Id": ids} | dict(zip(atlas.LABELS, probs.T, strict=True))))
    store.save_table(out, "labels.csv", pd.DataFrame(labels))
    found = pd.DataFrame(findings, columns=Finding._fields).rename(columns={"drop_id": "Id"})
    store.save_table(out, "findings.csv", found[["Id", "severity", "file", "problem", "remedy"]])


def write_page(
    path: Path,
    title: str,
    stamps: Sequence[str],
    thumbnails: dict[str, bytes],
    probs: np.ndarray,
    preds: np.ndarray,
    limits: np.ndarray,
) -> Path:
    """The page, which needs no other file; its path.

    Args:
        path: of the HTML file.
        title: of the page.
        stamps: sentences below the title.
        thumbnails: Id -> the bytes of a JPEG file, of the first images.
        probs, preds: (N, 28) of all images.
        limits: (28,), the thresholds from which on each class counts.
    """
    stamps = [*stamps, "The number beside a label is its probability, in brackets the threshold that it is held to."]
    if len(thumbnails) < len(probs):
        stamps = [*stamps, f"Shown are the first {len(thumbnails):,} images; labels.csv has all {len(probs):,}."]
    parts = [page.HEAD.format(title=html.escape(title), style=page.STYLE + STYLE), "<ul>"]
    parts += [*(f"<li>{html.escape(stamp)}</li>" for stamp in stamps), '</ul>\n<div class="images">']
    images = zip(thumbnails.items(), probs, preds, strict=False)
    parts += [_make_figure(image_id, thumbnail, *rows, limits) for (image_id, thumbnail), *rows in images]
    text = "\n".join([*parts, "</div></body>\n</html>\n"])
    return store.write_atomic(path, lambda part: part.write_text(text, encoding="utf-8", newline="\n"))


def _make_figure(image_id: str, thumbnail: bytes, prob: np.ndarray, pred: np.ndarray, limits: np.ndarray) -> str:
    """One image with its labels, the most probable first."""
    labels = [label for label in np.argsort(-prob, kind="stable") if pred[label]]
    lines, reached = [], thresholds.apply(prob[None], limits)[0]
    for label in labels:
        word = "from" if reached[label] else "below"  # the most probable label of an image with none
        held_to = f"{limits[label]:.3g}".lstrip("0") or "0"
        number = f"{prob[label]:.2f}".lstrip("0")
        lines.append(f"<li>{html.escape(atlas.LABELS[label])} {number} ({word} {held_to})</li>")
    name, picture = html.escape(image_id), base64.b64encode(thumbnail).decode()
    shown = f'<img alt="image {name}" loading="lazy" src="data:image/jpeg;base64,{picture}">'
    return f"<figure>{shown}<figcaption>{name}</figcaption><ul>{''.join(lines) or '<li>no label</li>'}</ul></figure>"
