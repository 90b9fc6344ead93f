"""The library that the notebooks share: Human Protein Atlas image classification, 28 labels, severe imbalance."""

import os

# TensorFlow reads this at its first import. By itself it takes oneDNN's convolutions only on CPUs with AVX512_VNNI or
# newer, though others gain too (bench/README.md). A value of your own is kept.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "0.1.0"
