"""The library that the notebooks share: Human Protein Atlas image classification, 28 labels, severe imbalance.

The map of the library, in the order in which the data flows::

    atlas                       28 labels, 4 channels, "16 0" <-> multi-hot row
    paths                       where the data and the outputs are
    store                       the only reader and writer of outputs/
    locks                       who may write there
    provenance                  versions of packages, the git commit
    __main__                    the hpa command: arguments, exit codes

    data/kaggle                 a folder in Kaggle's layout: its tables and where its images are
    data/csv_rows               the rows of a CSV table, read leniently
    data/png                    one channel file: is it whole, and its pixels
    data/image_files            the files of one image, Kaggle's and others'
    data/checks                 all that is wrong with a folder, with remedies
    data/layout                 what a folder holds in place of Kaggle's layout
    data/import_images          a researcher's own images -> Kaggle's layout
    data/archives               zip archives, unpacked safely
    data/parallel               one task over many processes
    data/disk                   is there room for what is to be written
    data/cache                  decoded images as one memory-mapped array, which run sets can share
    data/duplicates             near-duplicate images and their groups
    data/splits                 folds and the hold-out: grouped, stratified, seeded

    models/densenet             the study's small CNN
    models/resnet18             ResNet18
    models/inception_v2         Inception V2
    models/densenet121          DenseNet121 with the winner's head
    models/layers               input, normalisation, last layer, four-channel stem
    models/weights              ImageNet weights: found, downloaded, checked, filled in
    models/tensor_files         weight files -> arrays, without running code
    models/summary              blocks, parameters and arithmetic of a model

    training/device             device, precision, and the values chosen by them
    training/augment            augmentation and mixing
    training/imbalance          class weights and sampling weights
    training/batches            cache + split -> batches
    training/losses             losses on logits with class weights
    training/loop               fit
    training/streamed           the training macro F1, counted while an epoch runs
    training/checkpoints        resuming after a kill
    training/predict            images -> probabilities, test-time augmentation
    training/explain            what in an image speaks for a label, and whether that is the true structure
    training/recipes            named recipes and the defaults of all training parameters
    training/runs               one training run, from its parameters to what is stored

    decisions/metrics           F1, average precision
    decisions/bootstrap         intervals
    decisions/calibration       reliability, temperature
    decisions/thresholds        probabilities -> label sets
    decisions/ensemble          several models
    decisions/candidates        all ways to choose thresholds, side by side
    decisions/answers           what members and ensembles answer on each part
    decisions/foreign_runs      any model's table of probabilities as a run
    decisions/submission        Kaggle's file: written, checked, scored
    decisions/leaderboard       many submissions, scored on the same images and put into bands

    classical/features          59 measured numbers per image
    classical/models            scikit-learn models on them, stored as runs

    figures/style               colours, captions, the stamp on synthetic data
    figures/micrographs         images and contact sheets
    figures/eda                 imbalance, splits
    figures/architecture        networks
    figures/learning            class weights, learning curves, scores per class
    figures/decisions           thresholds, calibration, ensembles
    figures/classical           the baseline without a network
    figures/explanations        heat maps, and how much of them is on the structure
    figures/views               one run: its images, thresholds, confusions, embeddings

    reporting/label_statistics  numbers behind notebook 01
    reporting/tables            what a run set has stored, as tables
    reporting/run_list          all runs of a run set, the best first
    reporting/leftovers         what of a run set is safe to delete
    reporting/predictions       what a run predicts of new images: tables and a page
    reporting/verification      which stored number does not follow from the probabilities
    reporting/explore           one run, image by image
    reporting/widgets           the same to click on, in a notebook
    reporting/study             the study's numbers beside ours
    reporting/verdicts          what a run set shows of the study's claims, and whether it agrees
    reporting/report            the report, section by section
    reporting/page              the report as HTML, Markdown, CSV and LaTeX
    reporting/board             the leaderboard as a page for the wall

    running/profiles            what hpa run starts
    running/grid                a grid file: many runs as a profile
    running/plan                checks before the start
    running/runner              notebooks, run strictly
    running/files               what each notebook reads and leaves, and whether a step is up to date
    running/records             what each step did, and how long it should take
    running/limits              signals, time limits, the death of the parent
    running/gpus                one GPU per training run; threads
    running/progress            the line and the log of a running notebook
    running/exercises           the exercises without and with their solutions, and grading

    commands/data               hpa import, check, weights
    commands/run                hpa run
    commands/grid               hpa grid
    commands/clean              hpa clean
    commands/predict            hpa predict
    commands/verify             hpa verify
    commands/scores             hpa runs, report, add-run, score, submission check
    commands/teaching           hpa exercises, grade
    commands/board              hpa leaderboard

Python 3.11 on Linux, where everything is tested; the fast tests also pass on 3.12 and 3.13. On macOS (Apple silicon)
and Windows the library can be imported, and requirements.lock holds what they need besides, but nobody has run it
there yet. Windows has no make: use pip.
"""

import contextlib
import importlib.util
import os
import subprocess
import sys
import types
from pathlib import Path

RENAMED = {  # modules of version 0.1 -> what they are called now
    "labels": "atlas",
    "dataset": "data.kaggle",
    "tables": "data.csv_rows",
    "processes": "data.parallel",
    "intervals": "decisions.bootstrap",
    "eda": "reporting.label_statistics",
    "report": "reporting.tables",
    "batch": "running.runner",
    "models.stem": "models.layers",
    "models.norm": "models.layers",
    "figures.images": "figures.micrographs",
    "figures.imbalance": "figures.eda",
    "figures.training": "figures.learning",
}

# At its first import, and when it first looks for GPUs, TensorFlow's C++ code writes lines that are no errors, which a
# notebook shows in red: information before TF_CPP_MIN_LOG_LEVEL is in force, and the lack of a GPU driver. This leaves
# them out. Another process reads, so that the last words of a process that aborts are passed on too.
FILTER = r"""
import re, sys
startup = re.compile(
    rb"WARNING: All log messages before absl|I0000 |E0000 .* failed call to cuInit: .*UNKNOWN ERROR \(303\)"
)
for line in sys.stdin.buffer:
    if line.strip() and not startup.match(line):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""


@contextlib.contextmanager
def without_startup_lines():
    """Leave ``FILTER``'s lines out of what is written to standard error, also by C++ code, and pass on all others."""
    sys.stderr.flush()
    kept = os.dup(2)
    reader = subprocess.Popen([sys.executable, "-S", "-E", "-c", FILTER], stdin=subprocess.PIPE, stderr=kept)
    os.dup2(reader.stdin.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        reader.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):  # a process started meanwhile may hold the pipe
            reader.wait(timeout=5)


class QuietTensorFlow:
    """An entry of ``sys.meta_path`` that runs the first import of TensorFlow in ``without_startup_lines``.

    A class because Python asks for one. Keras imports TensorFlow, and any module may be the first to import Keras.
    """

    def find_spec(self, name, path=None, target=None):
        """The spec of TensorFlow with a quiet loader; None, so that Python looks on, for every other module."""
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            spec.loader.exec_module = without_startup_lines()(spec.loader.exec_module)
        return spec


def refuse_moved(name: str, path=None, target=None) -> None:
    """Say where a module of version 0.1 is now. Python asks this last, about modules that it does not find."""
    package, _, old = name.partition(".")
    if package != "hpa_lib":
        return
    found = [f"{file.parent.name}.{old}" for file in Path(__file__).parent.glob(f"*/{old}.py")]
    new = RENAMED.get(old) or next(iter(found), None)
    where = "hpa_synth" if old.startswith("synthetic") else f"hpa_lib.{new}" if new else ""
    if where:
        raise ModuleNotFoundError(f"{name} is {where} now: change the import (CHANGELOG.md lists them all)")


# TensorFlow reads this at its first import. By itself it takes oneDNN's convolutions only on CPUs with AVX512_VNNI or
# newer, though others gain too (bench/README.md). A value that is already set is kept.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only
sys.meta_path.insert(0, QuietTensorFlow())
sys.meta_path.append(types.SimpleNamespace(find_spec=refuse_moved))

__version__ = "0.2.0"
