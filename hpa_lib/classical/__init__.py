"""Measured features and scikit-learn models: a baseline that needs no network. No Keras."""
