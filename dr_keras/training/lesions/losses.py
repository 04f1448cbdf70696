"""The loss of a lesion segmentation, in which a few pixels among a million count."""

from keras import ops

from dr_keras.lesion_kinds import CHANNELS

# Factors on the cross-entropy, roughly one over the square root of a pixel's chance to be marked in a crop:
# otherwise microaneurysms, a few pixels each, would hardly count.
_WEIGHTS = {
    "microaneurysms": 40.0,
    "haemorrhages": 10.0,
    "hard_exudates": 8.0,
    "soft_exudates": 10.0,
    "optic_disc": 4.0,
}
_FEW = 50.0  # pixels; keeps the Dice loss of kinds that are in no crop of a batch from jumping


def bce_dice(targets, probabilities):
    """Cross-entropy, which makes probabilities of single pixels, plus Dice loss, which counts lesions by
    area.

    Args:
        targets: float (batch, height, width, channels) of `CHANNELS`, 0 to 1; negative where nobody knows.
        probabilities: float (batch, height, width, channels).

    Returns:
        float scalar: the mean over channels; each counts all pixels of the batch together.
    """
    known = ops.cast(targets >= 0, "float32")
    targets = ops.maximum(targets, 0.0)
    probabilities = ops.clip(probabilities, 1e-6, 1.0 - 1e-6)
    entropy = -(targets * ops.log(probabilities) + (1.0 - targets) * ops.log(1.0 - probabilities))

    def total(values):
        return ops.sum(values * known, axis=(0, 1, 2))

    weights = ops.array([_WEIGHTS[kind] for kind in CHANNELS], "float32")
    entropies = weights * total(entropy) / (ops.sum(known, axis=(0, 1, 2)) + 1.0)
    overlap = 2.0 * total(probabilities * targets) + _FEW
    dice = 1.0 - overlap / (total(probabilities) + total(targets) + _FEW)
    return ops.mean(entropies + dice)
