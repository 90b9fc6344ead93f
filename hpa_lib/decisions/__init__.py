"""Probabilities -> label sets -> a submission, and how sure a score is. NumPy only, no Keras."""
