"""From photographs to explanations: the attribution maps of one or several models, laid over a photograph."""

import dataclasses
import functools

import numpy as np
from PIL import Image

from dr_keras.data.fundus import FieldOfView
from dr_keras.data.parallel import batches_ahead
from dr_keras.data.photograph import Photograph, PreparedImage
from dr_keras.errors import InputError
from dr_keras.explain import overlay
from dr_keras.explain.geometry import Grid, place
from dr_keras.explain.gradcam import grad_cam, grad_cam_grid
from dr_keras.explain.lesion_findings import Findings, find_lesions
from dr_keras.explain.lesion_maps import has_lesions, least_probabilities, lesion_grid, lesion_shares
from dr_keras.explain.occlusion import occlusion_grid, occlusion_map
from dr_keras.explain.ram import ram_grid, regression_activation_map, score_bias
from dr_keras.grades import DEFAULT_THRESHOLDS

_METHODS = {
    "lesions": (lesion_shares, lesion_grid),
    "ram": (regression_activation_map, ram_grid),
    "gradcam": (grad_cam, grad_cam_grid),
    "occlusion": (occlusion_map, occlusion_grid),
}
METHODS = tuple(_METHODS)
_BATCH_PIXELS = 2**21  # two images of 1024 px, with whose maps 0.1 GB each is held


def best_method(models):
    """The method that shows most of some models: "lesions", "ram" or "gradcam", the first that all have."""
    if all(has_lesions(model) for model in models):
        return "lesions"
    try:
        for model in models:
            ram_grid(model)
    except InputError:
        return "gradcam"
    return "ram"


@dataclasses.dataclass(frozen=True)
class Explanation:
    """A photograph with its score and the attribution map of that score.

    Attributes:
        image: uint8 (height, width, 3), RGB: the photograph, reduced to the explainer's `max_side`.
        field_of_view: `FieldOfView` in pixels of `image`.
        heat: float32 (height, width), signed, in grade units: the mean of the models' attribution maps, laid
            over `image`. It is 0 outside the field of view and where no network sees the photograph.
        score: mean score of the models, in grade units.
        scores: score of each model, in grade units.
        maps: attribution map of each model, float32 (rows, columns), in grade units.
        grids: `Grid` of each map: where its cells lie.
        energy_outside: share of the map's absolute values that lies outside the field of view and that
            `heat` leaves out.
        method: one of `METHODS`.
        thresholds: four increasing scores that separate the grades.
        fault: why the photograph is too bad to be graded (`data.quality`), so that neither score nor map
            means anything; "" if it isn't, or wasn't judged.
        findings: `lesion_findings.Findings`, the lesions one by one, of method "lesions" and a single model
            (or the folds of one); else None.
    """

    image: np.ndarray = dataclasses.field(repr=False)
    field_of_view: FieldOfView
    heat: np.ndarray = dataclasses.field(repr=False)
    score: float
    scores: tuple[float, ...]
    maps: tuple[np.ndarray, ...] = dataclasses.field(repr=False)
    grids: tuple[Grid, ...] = dataclasses.field(repr=False)
    energy_outside: float
    method: str = "ram"
    thresholds: tuple = DEFAULT_THRESHOLDS
    findings: Findings | None = None
    fault: str = ""

    def overlay(self, name="", label=None, limit=None, with_original=False):
        """Draws the map over the photograph, with a colour bar and a caption; see `overlay.overlay`.

        Args:
            name: name of the photograph, for the caption.
            label: its true grade, where known.
            limit: grade units at which the colours end; None takes that of the method.
            with_original: whether the photograph itself stands to the left.

        Returns:
            A PIL image.
        """
        limit = limit or overlay.LIMITS[self.method]
        return Image.fromarray(overlay.overlay(self, name, label, limit, self.thresholds, with_original))


class Explainer:
    """Explains photographs with one model, or with several of different sizes (P2 section 4.5.2).

    Args:
        models: list of lists of graders. The maps of an inner list (a run's folds, of one image size and
            architecture) are averaged cell by cell; the results are averaged over the photograph.
        method: one of `METHODS`.
        max_side: longest side of an explanation, in pixels; smaller photographs keep their size.
        batch_size: number of photographs in a batch; fewer for networks of large images.
        normalization: preprocessing steps that the models expect; see `data.normalization`.
        thresholds: four increasing scores that separate the grades, for captions.
        quality: `QualityLimits` of a photograph that can be graded; None takes the defaults.
        **options: options of the method, such as `layer`.

    Raises:
        ValueError: if `method` isn't one of `METHODS`.
        InputError: if the method or its options don't fit a model.
    """

    def __init__(
        self, models, method="ram", max_side=1024, batch_size=8, normalization=(),
        thresholds=DEFAULT_THRESHOLDS, quality=None, **options,
    ):  # fmt: skip
        if method not in METHODS:
            raise ValueError(f"`method` must be one of {METHODS}. Received: method={method!r}")
        compute, grid_of = _METHODS[method]
        self._compute = lambda grader, images: compute(grader, images, **options)
        self._method, self._thresholds = method, tuple(thresholds)
        self._models = models
        self._max_side = max_side
        self._batch_size = batch_size
        self._normalization, self._quality = normalization, quality
        self.grids = tuple(grid_of(graders[0], **options) for graders in models)

    def __call__(self, photographs, progress=None):
        """Explains photographs.

        Args:
            photographs: list of `StoredPhotograph` or of anything that `data.photograph.Photograph` takes.
            progress: wraps the iteration as `tqdm.tqdm` does; called with `total`.

        Yields:
            (name, `Explanation`, "") for each photograph in order, or (name, None, why it can't be read).
        """
        results = self._explain_each(photographs)
        yield from progress(results, total=len(photographs)) if progress else results

    def _explain_each(self, photographs):
        sizes = {grid.image_size for grid in self.grids}
        for batch in load_photographs(
            photographs, sizes, self._max_side, self._batch_size, self._normalization, self._quality
        ):
            explained = iter(
                self.explain([photograph for _, photograph, _ in batch if photograph is not None])
            )
            for name, photograph, reason in batch:
                yield name, None if photograph is None else next(explained), reason

    def explain(self, photographs):
        """Explains one batch: takes a list of `LoadedPhotograph`, returns a list of `Explanation`."""
        if not photographs:
            return []
        scores, maps, evidence = [], [], None
        for graders, grid in zip(self._models, self.grids, strict=True):
            images = np.stack([photograph.prepared[grid.image_size].pixels for photograph in photographs])
            results = [self._compute(grader, images) for grader in graders]
            scores.append(np.mean([result[0] for result in results], axis=0))
            maps.append(np.mean([result[1] for result in results], axis=0))
            evidence = np.mean([result[2] for result in results], axis=0) if len(results[0]) > 2 else None
        explanations = [
            self._fuse(photograph, [row[index] for row in scores], [row[index] for row in maps])
            for index, photograph in enumerate(photographs)
        ]
        if evidence is None or len(self._models) > 1:
            return explanations
        return [self._with_findings(*each) for each in zip(explanations, photographs, evidence, strict=True)]

    def _with_findings(self, explanation, photograph, evidence):
        graders, size = self._models[0], self.grids[0].image_size
        least = np.mean([least_probabilities(grader) for grader in graders], axis=0)
        bias = np.mean([score_bias(grader) for grader in graders])
        view = photograph.prepared[size].field_of_view
        found = find_lesions(evidence, least, bias, view, explanation.score)
        return dataclasses.replace(explanation, findings=found)

    def _fuse(self, photograph, scores, maps):
        height, width = photograph.image.shape[:2]
        heats, views = [], []
        for cells, grid in zip(maps, self.grids, strict=True):
            view = photograph.prepared[grid.image_size].field_of_view
            views.append(view.scaled(height / view.image_height, height, width))
            heats.append(place(cells, grid, views[-1], height, width))
        heat, inside = np.mean(heats, axis=0), views[-1].mask()
        energy = np.abs(heat)
        return Explanation(
            image=photograph.image,
            field_of_view=views[-1],
            heat=np.where(inside, heat, np.float32(0)),
            score=float(np.mean(scores)),
            scores=tuple(float(score) for score in scores),
            maps=tuple(maps),
            grids=self.grids,
            energy_outside=float(energy[~inside].sum() / max(energy.sum(), 1e-12)),
            method=self._method,
            thresholds=self._thresholds,
            fault=photograph.fault,
        )


@dataclasses.dataclass(frozen=True)
class LoadedPhotograph:
    """A photograph in memory.

    Attributes:
        image: uint8 (height, width, 3), RGB.
        prepared: dict of image size -> `PreparedImage`.
        fault: why it is too bad to be graded, or "".
    """

    image: np.ndarray
    prepared: dict[int, PreparedImage]
    fault: str = ""


def load_photographs(photographs, sizes, max_side=1024, batch_size=8, normalization=(), quality=None):
    """Reads and preprocesses photographs; each batch is read while the one before it is in use.

    Args:
        photographs: see `Explainer.__call__`.
        sizes: image sizes that the models take, in pixels.
        max_side, batch_size, normalization, quality: see `Explainer`.

    Yields:
        Lists of (name, `LoadedPhotograph` or None, why it can't be read or "").
    """
    load = functools.partial(
        _load, sizes=sorted(sizes), max_side=max_side, steps=normalization, limits=quality
    )
    batch_size = max(1, min(batch_size, _BATCH_PIXELS // max(sizes) ** 2))
    for batch in batches_ahead(load, photographs, batch_size):
        yield [loaded for _, loaded in batch]


def _load(source, sizes, max_side, steps, limits):
    photograph = source if hasattr(source, "prepare") else Photograph(source)
    try:
        prepared = {size: photograph.prepare(size, steps) for size in sizes}
        # Those of a prepared dataset have known grades and aren't judged.
        fault = photograph.gradability(sizes[0], limits)[1] if isinstance(photograph, Photograph) else ""
        return photograph.name, LoadedPhotograph(photograph.frame(max_side), prepared, fault), ""
    except InputError as error:
        return photograph.name, None, photograph.reason(error)
