"""The library that the notebooks share: Human Protein Atlas image classification, 28 labels, severe imbalance.

Python 3.11 and 3.12 on Linux, where everything is tested. requirements.lock holds what macOS (Apple silicon) and Windows
need besides and the library is importable there, but neither has run it yet; on Windows, install with pip, not make.
"""

import os

# TensorFlow reads this at its first import. By itself it takes oneDNN's convolutions only on CPUs with AVX512_VNNI or
# newer, though others gain too (bench/README.md). A value of your own is kept.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "0.1.0"
