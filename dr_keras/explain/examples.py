"""Photographs that show how a model grades: some of each grade, explained by networks that never saw them."""

import collections
import dataclasses

import numpy as np

from dr_keras.errors import InputError
from dr_keras.explain.explainer import Explainer
from dr_keras.grades import DEFAULT_THRESHOLDS, NUM_GRADES, score_to_grade
from dr_keras.inference.grading import graders_of, normalization_of, score_split


@dataclasses.dataclass(frozen=True)
class Example:
    """A graded photograph and who may judge it.

    Attributes:
        path: its file.
        label: its true grade.
        networks: of each model, the positions of its networks whose mean its score is.
    """

    path: str
    label: int
    networks: tuple[tuple[int, ...], ...]


def find_examples(
    models, open_prepared, per_grade=4, split="auto", thresholds=DEFAULT_THRESHOLDS, seed=0, batch_size=32,
    progress=None,
):  # fmt: skip
    """Finds photographs of each grade to explain: half rightly graded, half the most under-graded.

    Args:
        models: `GradingModel`s, whose scores are averaged.
        open_prepared: as for `GradingModel.open`.
        per_grade: how many of each true grade; fewer where there are fewer.
        split, batch_size, progress: see `grading.score_split`.
        thresholds: four cuts from score to grade.
        seed: of the draw among the rightly graded.

    Returns:
        List of `Example`, by true grade.

    Raises:
        InputError: if the models have no photograph of the split in common.
    """
    normalization_of(models)
    opened = {model.image_size: model.open(open_prepared) for model in models}
    scored = [score_split(model, opened[model.image_size], split, batch_size, progress) for model in models]
    found = []
    for model, scores in zip(models, scored, strict=True):
        paths = [opened[model.image_size].records[index].path for index in scores.indices]
        found.append({path: position for position, path in enumerate(paths)})
    common = [path for path in found[0] if all(path in others for others in found)]
    if not common:
        raise InputError(f"--split={split}: no photograph that all models may judge; name them one by one")
    at = np.array([[positions[path] for path in common] for positions in found])
    fused = np.mean([scores.scores[row] for scores, row in zip(scored, at, strict=True)], axis=0)
    labels = opened[models[0].image_size].grades[scored[0].indices[at[0]]]
    examples = []
    for chosen in choose(labels, fused, per_grade, thresholds, seed):
        networks = tuple(
            tuple(np.flatnonzero(scores.scored_by[:, row[chosen]]).tolist())
            for scores, row in zip(scored, at, strict=True)
        )
        examples.append(Example(common[chosen], int(labels[chosen]), networks))
    return examples


def choose(labels, scores, per_grade=4, thresholds=DEFAULT_THRESHOLDS, seed=0):
    """Chooses of each true grade rightly graded photographs at random, and the most under-graded.

    Args:
        labels: int array (n,) of true grades.
        scores: array (n,) in grade units; photographs with NaN are never chosen.
        per_grade: how many of each grade, the larger half of an odd number rightly graded.
        thresholds: four cuts from score to grade.
        seed: of the draw.

    Returns:
        int array of positions, by grade.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, "float64")
    grades = score_to_grade(scores, thresholds)
    generator = np.random.default_rng(seed)
    chosen = [np.zeros(0, int)]
    for grade in range(NUM_GRADES):
        right = np.flatnonzero((labels == grade) & (grades == grade))
        under = np.flatnonzero((labels == grade) & (grades < grade))
        chosen.append(np.sort(generator.permutation(right)[: per_grade - per_grade // 2]))
        chosen.append(under[np.argsort(scores[under], kind="stable")][: per_grade // 2])
    return np.concatenate(chosen)


def explain_examples(models, examples, method="ram", progress=None, **options):
    """Explains each example by its own networks.

    Args:
        models: `GradingModel`s, as given to `find_examples`.
        examples: its result.
        method, **options: of `Explainer`.
        progress: wraps the iteration as `tqdm.tqdm` does, called with `total`.

    Yields:
        (path, `Explanation` or None, reason), in an order of its own.
    """
    results = _explain(models, examples, method, options)
    yield from progress(results, total=len(examples)) if progress else results


def _explain(models, examples, method, options):
    groups = collections.defaultdict(list)
    for example in examples:
        groups[example.networks].append(example.path)
    for networks, paths in groups.items():
        graders = graders_of(models, networks)
        yield from Explainer(graders, method, normalization=normalization_of(models), **options)(paths)
