"""A folder of PNGs and ``train.csv`` -> arrays, a cache and folds. No Keras."""
