"""Cache + split + augmentation + sampling -> batches, as a Keras ``PyDataset`` (any backend reads it)."""

import keras
import numpy as np

from hpa_lib.training import augment


class ImageBatches(keras.utils.PyDataset):
    """Batches of ``(images uint8 (B, S, S, 4), labels float32 (B, 28))``, the same for the same (seed, epoch).

    A class because Keras asks for one. Its only state is the epoch, which ``start_epoch`` sets. Pass ``shuffle=False``
    to ``model.fit``: the order is made here, from the seed.

    Args:
        images: uint8 (N, S, S, 4), an array or the memory-mapped cache.
        labels: (N, 28) multi-hot.
        rows: int (M,), the rows of ``images`` that take part.
        batch_size: images per batch; the last, smaller batch of a shuffled epoch is dropped.
        shuffle: a new order every epoch; ``False`` keeps ``rows`` as they are and drops nothing.
        augmentation: one of ``augment.AUGMENTS``.
        mix: one of ``augment.MIXES``.
        sampling: float (M,) probabilities of drawing each row with replacement, or None for each row once.
        seed: of the order and the augmentation.
        workers: threads that prepare batches beside the training step, at least 2 are used. The batches are the same
            for any number. With one, Keras would leave the prefetching to tf.data, whose tuner holds up the end of
            each epoch until its next tick, and its ticks double (10 ms to 82 s were seen).
    """

    def __init__(
        self,
        images,
        labels,
        rows,
        batch_size=32,
        shuffle=False,
        augmentation="none",
        mix="none",
        sampling=None,
        seed=0,
        workers=2,
    ):
        super().__init__(workers=max(workers, 2), use_multiprocessing=False, max_queue_size=8)
        if len(rows) == 0:
            raise ValueError("no images in this part of the split: check FOLD and HOLDOUT, or rerun 00_data.ipynb")
        self.images, self.labels, self.rows = images, np.asarray(labels, np.float32), np.asarray(rows)
        self.batch_size = min(batch_size, len(rows))
        self.shuffle, self.augmentation, self.mix, self.sampling = shuffle, augmentation, mix, sampling
        self.seed = seed
        self.start_epoch(0)

    def start_epoch(self, epoch: int):
        """Set the epoch that the next batches belong to (0 for the first); a resumed run starts later."""
        self.epoch = epoch
        self.order = self.rows
        if self.shuffle:
            rng = np.random.default_rng([self.seed, epoch])
            drawn = self.sampling is not None
            self.order = rng.choice(self.rows, len(self.rows), replace=drawn, p=self.sampling)

    def shows_each_image_once(self) -> bool:
        """Whether an epoch shows each image once and with its own labels: neither mixed nor resampled."""
        return self.mix == "none" and self.sampling is None

    def __len__(self):
        full, rest = divmod(len(self.order), self.batch_size)
        return full if self.shuffle or not rest else full + 1

    def __getitem__(self, index):
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        images, labels = self.images[rows], self.labels[rows]
        if self.augmentation != "none":
            # An image drawn several times in an epoch counts by its place, so that its copies differ.
            numbers = rows if self.sampling is None else index * self.batch_size + np.arange(len(rows))
            seeds = [augment.image_seed(self.seed, self.epoch, int(number)) for number in numbers]
            images = augment.augment_images(images, self.augmentation, seeds)
        rng = np.random.default_rng([self.seed, self.epoch, index])
        return augment.mix_images(images, labels, self.mix, rng)


def first_images(dataset: ImageBatches, epochs: int) -> list[np.ndarray]:
    """The first image of the first batch in each of the first ``epochs`` epochs, uint8 (S, S, 4) each."""
    seen = []
    for epoch in range(epochs):
        dataset.start_epoch(epoch)
        seen.append(dataset[0][0][0])
    return seen
