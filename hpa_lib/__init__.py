"""The library that the notebooks share: Human Protein Atlas image classification, 28 labels, severe imbalance."""

__version__ = "0.1.0"
