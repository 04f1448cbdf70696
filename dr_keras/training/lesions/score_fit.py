"""From lesions to a score: from which probability on a pixel counts, and how much each kind adds."""

import keras
import numpy as np
import tensorflow as tf

from dr_keras.data.lesion_regions import lesion_regions
from dr_keras.data.pipeline import evaluation_batches
from dr_keras.lesion_kinds import LESIONS
from dr_keras.models.grader_model import network_of
from dr_keras.models.layers import STEPS
from dr_keras.models.lesion_nets import CONTEXT, SEGMENTER
from dr_keras.training.frozen.backbone_features import Changed, FeatureCache
from dr_keras.training.frozen.ordinal import expected_grades, fit_ordinal
from dr_keras.training.lesions.evidence_fit import fit_evidence, unseen_logits
from dr_keras.training.protocol import Interrupted

_LEAST = 1 / (1 + np.exp(-np.linspace(-1, 8, 46)))  # probabilities that are tried: steps of 0.2 in logits
# False detections in a healthy photograph, on average. Of microaneurysms, the first sign, faint ones tell.
_FALSE = {"microaneurysms": 0.5, "haemorrhages": 0.25, "hard_exudates": 0.25, "soft_exudates": 0.25}
OF_HEALTHY = 3  # one in so many healthy patients judges the segmentation
_AT_ONCE = 4  # photographs whose features are computed together


class ScoreFit:
    """Fits what stands behind a lesion network's segmentation, once that is trained.

    Healthy eyes on which the segmentation didn't learn say from which probability on a pixel counts. Then the
    score is fitted to the grades of the training photographs, but for the healthy ones that the segmentation
    learnt from, on which it is quieter than on others: an `OrdinalScore` whose weights may not be negative,
    so that the more lesions, the higher the score. The maps of `lesion_efficientnet`'s backbone come from
    logistic regressions on changed copies, as in `OrdinalFit`; each step from one grade to the next has its
    own, and the score's weights see it as patients left out do.

    Args:
        task: `FitTask`.
        learnt: int array, positions of the healthy photographs that the segmentation learns from.
        judges: int array, positions of the other healthy ones.
    """

    def __init__(self, task, learnt, judges):
        self._task, self._learnt, self._judges = task, learnt, judges
        self._prepared, self._training = task.prepared, task.training
        self._grades = task.prepared.grades[task.training]
        self._groups = task.groups_of(task.training)
        self._cache = task.features or FeatureCache(task.prepared)

    def run(self, grader):
        """Sets the weights; returns the training photographs' scores by fits without their patients."""
        network = network_of(grader)
        network.get_layer("shares").least = self._least_probabilities(network.get_layer(SEGMENTER))
        return self._fit_score(grader, network)

    def _least_probabilities(self, segmenter):
        """For each kind, the least probability at which healthy eyes show as few as `_FALSE`."""
        if not len(self._judges):
            return (0.5,) * len(LESIONS)
        maps = [one for batch in self._computed(segmenter, self._judges) for one in batch]
        least = []
        for channel, kind in enumerate(LESIONS):
            found = np.mean([[_regions(one[..., channel], cut) for cut in _LEAST] for one in maps], axis=0)
            fits = np.flatnonzero(found <= _FALSE[kind])
            least.append(float(_LEAST[fits[0] if len(fits) else -1]))
        named = zip(LESIONS, least, strict=True)
        words = ", ".join(f"{kind.replace('_', ' ')} {value:.3f}" for kind, value in named)
        self._task.hooks.say(f"{self._task.run_dir}: probability from which a pixel counts: {words}")
        return tuple(least)

    def _fit_score(self, grader, network):
        """Fits the score to the training photographs; returns cross-validated ones, and sets its weights."""
        pooled = keras.layers.GlobalAveragePooling2D()(network.get_layer("shares").output)
        lesions = keras.Model(network.inputs, pooled)
        features = np.concatenate(list(self._computed(lesions, self._training)))
        counts = np.ones((features.shape[1], STEPS), bool)
        if CONTEXT in [layer.name for layer in network.layers]:
            features = np.column_stack([features, self._fit_context(grader, network)])
            counts = np.concatenate([counts, np.eye(STEPS, dtype=bool)])
        # The healthy eyes that count stand for those that don't.
        weights = np.where(np.isin(self._training, self._learnt), 0.0, 1.0)
        weights[np.isin(self._training, self._judges)] += len(self._learnt) / max(len(self._judges), 1)
        weights = weights if weights.any() else np.ones(len(weights))
        evidence = features, self._grades, weights, counts
        network.get_layer("score").set_weights(fit_evidence(*evidence))
        logits = unseen_logits(*evidence, self._groups)
        return None if logits is None else expected_grades(logits)

    def _fit_context(self, grader, network):
        """Fits the maps of the backbone's features; returns their means (n, 4), by fits without the patient.

        They are 0 on average for healthy eyes.
        """
        context = network.get_layer(CONTEXT)
        pooled = keras.layers.GlobalAveragePooling2D(dtype="float32")(context.input)
        backbone, copies = keras.Model(network.inputs, pooled), Changed(self._task.config.changed_copies)
        features = self._cache.of(grader, backbone, self._training, copies)
        fitted = fit_ordinal(features, self._grades, self._groups, self._task.config.steadiness)
        healthy = fitted.unseen_logits[self._grades == 0]
        level = healthy.mean(axis=0) if len(healthy) else np.zeros(STEPS)
        context.set_weights([fitted.kernel[None, None], fitted.intercepts - level])
        return fitted.unseen_logits - level

    def _computed(self, model, indices):
        """Yields a model's outputs for prepared photographs, batch by batch."""
        compute = tf.function(lambda images: model(tf.cast(images, tf.float32), training=False))
        for batch in evaluation_batches(self._prepared, indices, _AT_ONCE):
            if self._task.hooks.should_stop():
                raise Interrupted(self._task.run_dir)
            yield compute(batch["image"]).numpy()


def _regions(probabilities, least):
    return lesion_regions(probabilities > least)[0]
