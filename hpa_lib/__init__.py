"""The library that the notebooks share: Human Protein Atlas image classification, 28 labels, severe imbalance.

Python 3.11 and 3.12 on Linux, where everything is tested. On macOS (Apple silicon) and Windows the library can be
imported, and requirements.lock holds what they need besides, but nobody has run it there yet. Windows has no
make: use pip.
"""

import os
import sys
import types
from pathlib import Path

from hpa_lib.training import startup

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
# newer, though others gain too (bench/README.md). A value of your own is kept.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only
sys.meta_path.insert(0, startup.QuietTensorFlow())
sys.meta_path.append(types.SimpleNamespace(find_spec=refuse_moved))

__version__ = "0.2.0"
