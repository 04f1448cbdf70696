"""The grader: one object that grades and explains photographs with a model of any file format."""

import dataclasses
import os

import numpy as np

from dr_keras.data.parallel import batches_ahead
from dr_keras.data.photograph import Photograph
from dr_keras.errors import InputError
from dr_keras.inference import formats
from dr_keras.inference.graded import Graded
from dr_keras.inference.runtimes import KerasRuntime, name_of, open_runtime
from dr_keras.shipped import GRADER, model_path, shipped_path


def load_grader(model=None, thresholds=None):
    """Loads a grader.

    Args:
        model: a run folder of `scripts/train.py`, a `.keras`, `.tflite` or `.onnx` file, the folder of a
            SavedModel, or the name of a model that comes with the project: "dr_grader", which None takes, or
            "dr_grader_fast". The score of a run with folds is the mean over its networks.
        thresholds: four increasing scores that separate the grades; None takes the model's own.

    Returns:
        A `Grader`.

    Raises:
        InputError: if there is no model, or it doesn't carry its grading rules.
    """
    path = shipped_path(*GRADER) if model is None else model
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"`model` must be the path of a model, or None. Received: {type(path).__name__}")
    path = model_path(path)
    files = formats.model_files(path) if formats.format_of(path) == formats.KERAS else ()
    return Grader(open_runtime(path), name_of(path), thresholds, files)


class Grader:
    """Grades and explains photographs.

    A photograph is the path of a file, encoded bytes, a PIL image, or a uint8 array (height, width, 3), RGB,
    0-255. One that can't be read or graded gets no grade but a reason; nothing is raised for it.

    Args:
        runtime: `runtimes.Runtime`.
        name: name of the model.
        thresholds: four increasing cuts in place of the model's own, or None.
        model_files: of the Keras models, beside which a run's `split.csv` may lie.

    Attributes:
        name, model_files: as given.
        rules: `models.GradingRules`: thresholds, preprocessing, limits of quality.
        image_size: side of the square images that the networks take, in pixels.
        networks: the Keras models; empty for exported models.
        num_networks: how many networks the score is the mean of.
        sha256: of the weights.
    """

    def __init__(self, runtime, name="grader", thresholds=None, model_files=()):
        self._runtime = runtime
        self.name = name
        self.model_files = tuple(model_files)
        self.rules = runtime.rules
        if thresholds is not None:
            self.rules = dataclasses.replace(runtime.rules, thresholds=thresholds)
        self.image_size = runtime.image_size
        self.networks = runtime.networks
        self.num_networks = runtime.num_networks

    @classmethod
    def of_networks(cls, networks, name="grader", thresholds=None):
        """Makes a grader of Keras models from `models.build_grader`, whose scores are averaged."""
        return cls(KerasRuntime(networks), name, thresholds)

    @property
    def sha256(self):
        """SHA-256 of the weights, hexadecimal."""
        return self._runtime.sha256

    def grade(self, photographs, batch_size=32):
        """Grades a photograph, or a list of them.

        Args:
            photographs: one photograph, or a list or tuple of photographs.
            batch_size: number of photographs that go through the networks at once.

        Returns:
            `Graded`; for a list, a list of `Graded` in the same order.

        Raises:
            ValueError: on an empty list, or an array with values in 0-1, another shape or BGR order.
        """
        if not isinstance(photographs, (list, tuple)):
            return next(iter(self.grade_each([photographs], 1)))
        _check_some(photographs)
        return list(self.grade_each(photographs, batch_size))

    def grade_each(self, photographs, batch_size=32):
        """Grades a list or tuple of photographs batch by batch; yields `Graded` in order.

        Arguments and errors as for `grade`; an empty list yields nothing.
        """
        if not isinstance(photographs, (list, tuple)):
            received = type(photographs).__name__
            raise ValueError(f"`photographs` must be a list or tuple of photographs. Received: {received}")
        for batch in batches_ahead(self._prepare, photographs, batch_size):
            images = [prepared.pixels for _, (_, prepared, _) in batch if prepared is not None]
            scores = iter(self.score_prepared(np.stack(images)) if images else ())
            for _, (name, prepared, reason) in batch:
                if prepared is None:
                    yield Graded.unreadable(name, reason)
                else:
                    yield Graded.of_score(name, next(scores), reason, self.rules)

    def explain(self, photographs, method=None, **options):
        """Shows which regions of a photograph, or of each in a list, add how much to its score.

        Args:
            photographs: as for `grade`.
            method: "lesions" for lesion networks, "ram" for networks with global average pooling, "gradcam"
                or "occlusion" for any; None takes the first of these that the networks have.
            **options: see `explain.Explainer`.

        Returns:
            `explain.Explanation`; for a list, a list of them.

        Raises:
            InputError: if a photograph can't be read, or the model has no such maps.
            ValueError: as for `grade`.
        """
        several = isinstance(photographs, (list, tuple))
        if several:
            _check_some(photographs)
        explain = explainer_of([self], method, **options)
        explanations = []
        for name, explanation, reason in explain(photographs if several else [photographs]):
            if explanation is None:
                raise InputError(f"{name}: {reason}")
            explanations.append(explanation)
        return explanations if several else explanations[0]

    def score_prepared(self, images, network=None):
        """Scores preprocessed images.

        Args:
            images: uint8 (n, image_size, image_size, 3), RGB, 0-255.
            network: position of the network to score with; None takes the mean over all networks.

        Returns:
            float64 (n,), in grade units.
        """
        return self._runtime.score(images, network)

    def open(self, open_prepared):
        """Opens a dataset, preprocessed as the grader expects.

        Args:
            open_prepared: takes the image size and the preprocessing steps, and returns a `PreparedDataset`.
        """
        return open_prepared(self.image_size, self.rules.normalization)

    def _prepare(self, source):
        """Returns (name, `PreparedImage` or None, why it can't be read or graded, or "")."""
        photograph = Photograph(source)
        try:
            prepared = photograph.prepare(self.image_size, self.rules.normalization)
            fault = photograph.gradability(self.image_size, self.rules.quality)[1]
        except InputError as error:
            return photograph.name, None, photograph.reason(error)
        return photograph.name, prepared, fault


def _check_some(photographs):
    if not photographs:
        raise ValueError("`photographs` must hold at least one photograph. Received: an empty list")


def explainer_of(graders, method=None, networks=None, **options):
    """Returns an `explain.Explainer` of one or several graders, whose attribution maps are averaged.

    Args:
        graders: list of `Grader`.
        method, **options: arguments of `Explainer`; None takes the best method that all networks have.
        networks: for each grader the positions of the networks to use; None uses all of them.

    Raises:
        InputError: if the graders differ in preprocessing, or one isn't a Keras model.
    """
    from dr_keras.explain.explainer import Explainer, best_method

    for grader in graders:
        if not grader.networks:
            raise InputError(
                f"{grader.name}: an exported model can't be explained here; expected its run or .keras file"
            )
    normalization = common_normalization(graders)
    chosen = [grader.networks for grader in graders] if networks is None else networks_at(graders, networks)
    options.setdefault("thresholds", graders[0].rules.thresholds)
    options.setdefault("quality", graders[0].rules.quality)
    method = method or best_method([network for grader in graders for network in grader.networks])
    return Explainer(chosen, method, normalization=normalization, **options)


def networks_at(graders, positions):
    """Returns, for each grader, the list of its networks at the given positions."""
    return [[grader.networks[k] for k in some] for grader, some in zip(graders, positions, strict=True)]


def common_normalization(graders):
    """Returns the preprocessing steps that all graders share; raises `InputError` if they differ."""
    found = {grader.rules.normalization for grader in graders}
    if len(found) > 1:
        words = " and ".join(",".join(steps) or "none" for steps in sorted(found))
        raise InputError(f"models trained with --normalization={words} can't be shown in one map")
    return found.pop()
