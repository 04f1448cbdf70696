"""Example photographs of each grade, explained by networks that weren't trained on them."""

import collections
import dataclasses

import numpy as np

from dr_keras.data.shards import StoredPhotograph
from dr_keras.errors import InputError
from dr_keras.grades import DEFAULT_THRESHOLDS, NUM_GRADES, score_to_grade
from dr_keras.inference.grader import common_normalization, explainer_of
from dr_keras.inference.split_scores import score_split


@dataclasses.dataclass(frozen=True)
class Example:
    """A photograph with a true grade, and the networks that weren't trained on it.

    Attributes:
        photograph: `StoredPhotograph` with an image of each grader's size.
        label: true grade of the photograph.
        networks: for each grader, the positions of its networks that score the photograph.
    """

    photograph: StoredPhotograph
    label: int
    networks: tuple[tuple[int, ...], ...]

    @property
    def path(self):
        """Path of the original photograph."""
        return self.photograph.name


def example_of(opened, split_scores, positions):
    """Makes the `Example` of a photograph that several graders scored.

    Args:
        opened: `PreparedDataset` of each grader.
        split_scores: `SplitScores` of each grader.
        positions: positions of the photograph among each grader's scored ones.
    """
    places, networks = [], []
    for prepared, scores, position in zip(opened, split_scores, positions, strict=True):
        places.append((prepared, scores.indices[position]))
        networks.append(tuple(np.flatnonzero(scores.scored_by[:, position]).tolist()))
    label = int(opened[0].grades[places[0][1]])
    return Example(StoredPhotograph(places), label, tuple(networks))


def find_examples(
    graders, open_prepared, per_grade=4, split="auto", thresholds=DEFAULT_THRESHOLDS, seed=0, batch_size=32,
    progress=None,
):  # fmt: skip
    """Finds photographs of each grade to explain: half rightly graded, half the most under-graded.

    Args:
        graders: `Grader`s, whose scores are averaged.
        open_prepared: as for `Grader.open`.
        per_grade: how many of each true grade; fewer where there are fewer.
        split, batch_size, progress: see `score_split`.
        thresholds: four cuts from score to grade.
        seed: seed of the draw among the rightly graded.

    Returns:
        List of `Example`, by true grade.

    Raises:
        InputError: if the graders have no photograph of the split in common.
    """
    common_normalization(graders)
    by_size = {grader.image_size: grader.open(open_prepared) for grader in graders}
    opened = [by_size[grader.image_size] for grader in graders]
    scored = [
        score_split(grader, prepared, split, batch_size, progress)
        for grader, prepared in zip(graders, opened, strict=True)
    ]
    found = []
    for prepared, scores in zip(opened, scored, strict=True):
        paths = [prepared.records[index].path for index in scores.indices]
        found.append({path: position for position, path in enumerate(paths)})
    common = [path for path in found[0] if all(path in others for others in found)]
    if not common:
        raise InputError(
            f"--split={split}: the models have no photograph of this split in common; name them one by one"
        )
    at = np.array([[positions[path] for path in common] for positions in found])
    fused = np.mean([scores.scores[row] for scores, row in zip(scored, at, strict=True)], axis=0)
    labels = opened[0].grades[scored[0].indices[at[0]]]
    chosen = choose(labels, fused, per_grade, thresholds, seed)
    return [example_of(opened, scored, at[:, column]) for column in chosen]


def choose(labels, scores, per_grade=4, thresholds=DEFAULT_THRESHOLDS, seed=0):
    """Chooses of each true grade rightly graded photographs at random, and the most under-graded.

    Args:
        labels: int array (n,) of true grades.
        scores: array (n,) in grade units; photographs with NaN are never chosen.
        per_grade: how many of each grade, the larger half of an odd number rightly graded.
        thresholds: four cuts from score to grade.
        seed: seed of the draw.

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


def explain_examples(graders, examples, method=None, progress=None, **options):
    """Explains each example with the networks that weren't trained on it.

    Args:
        graders: list of `Grader`, as given to `find_examples`.
        examples: result of `find_examples`.
        method, **options: arguments of `Explainer`.
        progress: wraps the iteration as `tqdm.tqdm` does; called with `total`.

    Yields:
        (path, `Explanation` or None, reason), grouped by networks rather than in the order of `examples`.
    """
    results = _explain(graders, examples, method, options)
    yield from progress(results, total=len(examples)) if progress else results


def _explain(graders, examples, method, options):
    groups = collections.defaultdict(list)
    for example in examples:
        groups[example.networks].append(example.photograph)
    for networks, photographs in groups.items():
        yield from explainer_of(graders, method, networks, **options)(photographs)
