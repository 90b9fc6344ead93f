"""The library that the notebooks share: Human Protein Atlas image classification, 28 labels, severe imbalance.

Python 3.11 and 3.12 on Linux, where everything is tested. On macOS (Apple silicon) and Windows the library can be
imported, and requirements.lock holds what they need besides, but nobody has run it there yet. Windows has no
make: use pip.
"""

import os
import sys

from hpa_lib.training import startup

# TensorFlow reads this at its first import. By itself it takes oneDNN's convolutions only on CPUs with AVX512_VNNI or
# newer, though others gain too (bench/README.md). A value of your own is kept.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only
sys.meta_path.insert(0, startup.QuietTensorFlow())

__version__ = "0.1.0"
