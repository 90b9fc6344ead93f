"""Losses on logits with per-class weights, and plain sums of them.

Keras's own ``class_weight`` cannot do this: with multi-hot targets it weighs a whole image by its first positive
label. Here the weight of class j touches the terms of class j alone, in one of two ways:

- the terms of single images (``bce``, ``focal``, ``asymmetric``): the weight multiplies the *positive* term. That
  moves the decision, while weighing both terms would only change how fast each class is learnt;
- the losses of a whole batch (``soft_f1``, ``lovasz``): the weighted mean of the classes' terms. Only the ratios of
  the weights count, so a sum such as ``bce+soft_f1`` keeps its balance whatever their mean is.

Every loss takes ``labels`` (N, C) in [0, 1] (soft after mixup), ``logits`` (N, C) and ``class_weights`` (C,), and gives
float32 (N,) or, for the batch losses, the same value N times. All are finite for logits of any size.
"""

from collections.abc import Callable

import numpy as np
from keras import ops


def bce(labels, logits, class_weights):
    """Binary cross-entropy, mean over the classes: ``w y softplus(-x) + (1 - y) softplus(x)``."""
    terms = class_weights * labels * ops.softplus(-logits) + (1 - labels) * ops.softplus(logits)
    return ops.mean(terms, axis=1)


def focal(labels, logits, class_weights, gamma: float = 2.0):
    """Focal loss (Lin et al. 2017, "Focal Loss for Dense Object Detection", eq. 4); ``gamma`` 0 is ``bce``.

    ``(1 - p)^gamma`` is written as ``exp(gamma log sigmoid(-x))``, which cannot overflow.
    """
    positive = ops.exp(gamma * ops.log_sigmoid(-logits)) * ops.softplus(-logits)
    negative = ops.exp(gamma * ops.log_sigmoid(logits)) * ops.softplus(logits)
    return ops.mean(class_weights * labels * positive + (1 - labels) * negative, axis=1)


def asymmetric(labels, logits, class_weights):
    """Asymmetric loss (Ridnik et al. 2021, "Asymmetric Loss For Multi-Label Classification", eq. 7), gammas 0 and 4.

    Easy negatives (probability below the margin .05) cost nothing: with 28 labels per image nearly all are negatives.
    """
    shifted = ops.maximum(ops.sigmoid(logits) - 0.05, 0.0)
    negative = shifted**4.0 * -ops.log(1 - shifted)
    return ops.mean(class_weights * labels * ops.softplus(-logits) + (1 - labels) * negative, axis=1)


def soft_f1(labels, logits, class_weights):
    """One minus the macro F1 of the batch with probabilities in place of decisions (the study's ``f1_loss``).

    A class that is absent from the batch adds the constant 1 and has no gradient: without a positive its F1 is 0
    whatever the probabilities are. So it takes another loss beside this one, such as ``bce``, to push the
    probabilities of a rare class down. A smoothed F1, ``(2 TP + s) / (total + s)``, would do so, but beside ``bce``
    and in batches of 16 it kept rare classes from being predicted (docs/findings.md).
    """
    probs = ops.sigmoid(logits)
    true_positives = ops.sum(labels * probs, axis=0)  # (C,)
    total = ops.sum(labels, axis=0) + ops.sum(probs, axis=0)
    f1 = 2 * true_positives / (total + 1e-7)
    return _per_image(_weighted_mean(1 - f1, class_weights), logits)


def lovasz(labels, logits, class_weights):
    """Symmetric Lovasz hinge: a surrogate of the Jaccard index of each class over the batch.

    Berman et al. 2018, "The Lovasz-Softmax loss", eq. 9 with the hinge errors of section 3.1; the mean of the loss
    of the positives and that of the negatives. Labels are taken as 0 or 1 (soft ones are rounded).
    """
    labels = ops.round(labels)
    both = (_lovasz_hinge(labels, logits) + _lovasz_hinge(1 - labels, -logits)) / 2  # (C,)
    return _per_image(_weighted_mean(both, class_weights), logits)


def _lovasz_hinge(labels, logits):
    errors = 1 - logits * (2 * labels - 1)  # (N, C)
    order = ops.argsort(-errors, axis=0)
    errors = ops.take_along_axis(errors, order, axis=0)
    labels = ops.take_along_axis(labels, order, axis=0)
    positives = ops.sum(labels, axis=0, keepdims=True)
    intersection = positives - ops.cumsum(labels, axis=0)
    union = positives + ops.cumsum(1 - labels, axis=0)
    jaccard = 1 - intersection / ops.maximum(union, 1.0)
    steps = ops.concatenate([jaccard[:1], jaccard[1:] - jaccard[:-1]], axis=0)
    return ops.sum(ops.relu(errors) * ops.stop_gradient(steps), axis=0)


def _weighted_mean(terms, class_weights):
    return ops.sum(class_weights * terms) / ops.sum(class_weights)


def _per_image(value, logits):
    return ops.broadcast_to(value, ops.shape(logits)[:1])


WHOLE_BATCH = ("soft_f1", "lovasz")
LOSSES = {"bce": bce, "focal": focal, "asymmetric": asymmetric, "soft_f1": soft_f1, "lovasz": lovasz}


def make_loss(name: str, class_weights: np.ndarray) -> Callable:
    """A loss ``(labels, logits) -> (N,)`` for ``model.compile``.

    Args:
        name: one of ``LOSSES``, or a plain sum such as ``"bce+soft_f1"``.
        class_weights: float (C,), from ``imbalance.class_weights``.

    Raises:
        ValueError: an unknown name.
    """
    parts = _parts(name)
    class_weights = np.asarray(class_weights, np.float32)

    def loss(labels, logits):
        labels, logits = ops.cast(labels, "float32"), ops.cast(logits, "float32")
        return sum(LOSSES[part](labels, logits, class_weights) for part in parts)

    loss.__name__ = name
    return loss


def describe_weights(name: str, class_weights: np.ndarray) -> str:
    """What the class weights do in a loss, in one sentence.

    Args:
        name, class_weights: as for ``make_loss``.
    """
    parts = _parts(name)
    if np.min(class_weights) == np.max(class_weights):
        return f"All classes weigh {np.min(class_weights):.3g} in {name}."
    single = [part for part in parts if part not in WHOLE_BATCH]
    whole = [part for part in parts if part in WHOLE_BATCH]
    uses = ["they multiply the positive terms of " + " and ".join(single)] * bool(single)
    uses += ["they set the share of each class in " + " and ".join(whole)] * bool(whole)
    return f"Class weights from {np.min(class_weights):.3g} to {np.max(class_weights):.3g}: {'; '.join(uses)}."


def _parts(name: str) -> list[str]:
    parts = name.split("+")
    unknown = [part for part in parts if part not in LOSSES]
    if unknown:
        raise ValueError(f"loss {unknown[0]!r}: use one of {', '.join(LOSSES)}, or a sum such as bce+soft_f1")
    return parts
