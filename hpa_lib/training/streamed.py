"""The training macro F1 of an epoch, counted while it trains."""

import keras
from keras import ops

from hpa_lib import atlas


class StreamedMacroF1(keras.metrics.Metric):
    """Macro F1 at .5 of all images of an epoch, from counts that grow batch by batch.

    A class because Keras asks for one. It is what the study's curves show of training, and flatters nobody: the images
    are augmented, dropout is on, and the weights change from batch to batch, so it is below the F1 of the same images
    at the end of the epoch. An image that no class reaches gets its most probable class, as in
    ``thresholds.fill_empty_rows``. The counts are over the epoch: a mean of batches' F1 could not reach 1.

    Takes labels (N, 28) of 0 and 1 and logits (N, 28); mixed labels have no F1.
    """

    def __init__(self, num_labels: int = atlas.NUM_LABELS, name: str = "macro_f1"):
        super().__init__(name=name, dtype="float32")
        self.counts = [
            self.add_weight(shape=(num_labels,), initializer="zeros", name=count) for count in ("hits", "named", "true")
        ]

    def update_state(self, labels, logits, sample_weight=None):
        """Add the counts of one batch; there are no sample weights."""
        labels, logits = ops.cast(labels, "float32"), ops.cast(logits, "float32")
        preds = ops.cast(logits >= 0, "float32")  # a probability of .5 or more
        best = ops.one_hot(ops.argmax(logits, axis=1), logits.shape[1], dtype="float32")
        preds = ops.where(ops.any(logits >= 0, axis=1, keepdims=True), preds, best)
        for count, found in zip(self.counts, (labels * preds, preds, labels), strict=True):
            count.assign_add(ops.sum(found, axis=0))

    def result(self):
        """The macro F1 of all images so far; a class that is neither true nor predicted counts as 0."""
        hits, named, true = self.counts
        return ops.mean(ops.where(named + true > 0, 2 * hits / ops.maximum(named + true, 1.0), 0.0))
