"""The worst errors of a model, each with the map of what led to its score."""

import dataclasses

import numpy as np

from dr_keras.explain import overlay
from dr_keras.explain.explainer import best_method
from dr_keras.inference.examples import example_of, explain_examples
from dr_keras.report.progression import Progression, progression

PANEL = 480  # pixels, longer side of a picture
_BAR_LETTERS = 14  # pixels


@dataclasses.dataclass(frozen=True)
class Case:
    """A photograph of the gallery.

    Attributes:
        index: its position among the scored photographs.
        photograph: uint8 (height, width, 3), RGB.
        overlay: the same with the map over it and a colour bar beside it, or None.
        reason: why there is no overlay, or "".
    """

    index: int
    photograph: np.ndarray
    overlay: np.ndarray | None
    reason: str = ""


def worst_errors(labels, scores, count=8):
    """Positions of the photographs whose score is farthest from the truth, the worst first.

    Args:
        labels: array (n,) of true grades.
        scores: array (n,) in grade units; a photograph with NaN is none of them.
        count: how many; fewer where there are fewer.
    """
    errors = np.abs(np.asarray(scores, "float64") - np.asarray(labels))
    ranked = np.argsort(-errors, kind="stable")
    return ranked[~np.isnan(errors[ranked])][:count]


def gallery(model, prepared, scored, positions, method, progress=None):
    """Explains scored photographs, each by the networks that its score is the mean of.

    Args:
        model: `Grader`.
        prepared: `PreparedDataset` that was scored.
        scored: `SplitScores` of it.
        positions: positions of the photographs among the scored ones.
        method: kind of the maps.
        progress: wraps the iteration as `tqdm.tqdm` does, called with `total`.

    Returns:
        List of `Case`, one for each position. A photograph whose file can't be read any more is shown as it
        was prepared, without a map.
    """
    examples = [example_of([prepared], [scored], [position]) for position in positions]
    explained = explain_examples([model], examples, method, progress, max_side=PANEL)
    by_path = {path: (explanation, reason) for path, explanation, reason in explained}
    cases = []
    for position, example in zip(positions, examples, strict=True):
        explanation, reason = by_path[example.path]
        if explanation is None:
            stored = prepared.read([scored.indices[position]])[0]
            cases.append(Case(int(position), stored, None, reason))
        else:
            cases.append(Case(int(position), *_pictures(explanation, overlay.LIMITS[method])))
    return cases


def _pictures(explanation, limit):
    photograph, blended = overlay.panels(explanation, limit, PANEL)
    gap = np.full((len(blended), _BAR_LETTERS // 2, 3), 255, np.uint8)
    bar = overlay.key(explanation, len(blended), _BAR_LETTERS, limit)
    return photograph, np.concatenate([blended, gap, bar], axis=1)


@dataclasses.dataclass(frozen=True)
class Photographs:
    """The photographs of a report.

    Attributes:
        cases: list of `gallery.Case`, the worst first.
        method: kind of their maps.
        ranking: `progression.Progression`.
    """

    cases: list
    method: str
    ranking: Progression


def report_photographs(evaluated, count=8, shown=20, progress=None):
    """Collects the photographs of a report: the worst errors with their maps, and a ranking by score.

    Args:
        evaluated: `ModelEvaluation`.
        count: number of the worst errors.
        shown: photographs in the ranking.
        progress: wraps the explaining as `tqdm.tqdm` does, called with `total`.

    Returns:
        `Photographs`; None if no photograph has a score.
    """
    worst = worst_errors(evaluated.scored.labels, evaluated.scored.scores, count)
    ranking = progression(evaluated.prepared, evaluated.scores, shown)
    if not ranking.images:
        return None
    method = best_method(evaluated.model.networks)
    cases = gallery(evaluated.model, evaluated.prepared, evaluated.scores, worst, method, progress)
    return Photographs(cases, method, ranking)
