"""The faithfulness of trained models' maps: what the score does when their highest pixels go."""

import numpy as np

from dr_keras.evaluation.maps.faithfulness import (
    MEASURES,
    deletion_insertion,
    random_order,
    road,
    summarise_faithfulness,
)
from dr_keras.evaluation.maps.map_evaluation import model_labels, readable
from dr_keras.explain.explainer import Explainer, load_photographs
from dr_keras.explain.geometry import place_on_square
from dr_keras.training.scoring import scoring_step


def evaluate_faithfulness(models, unseen, methods=("ram",), count=20, seed=0, progress=None):
    """Measures deletion, insertion and ROAD of models' maps, each photograph by networks that never saw it.

    Args:
        models: list of `Grader`.
        unseen: list of `map_evaluation.UnseenNetworks`.
        methods: some of `explainer.METHODS`.
        count: photographs, evenly over the list.
        seed: seed of the random orders, ROAD's noise and the bootstrap.
        progress: wraps the photographs as `tqdm.tqdm` does, called with `total`.

    Returns:
        dict of "METHOD/NETWORK_SIZE" to the result of `summarise_faithfulness`, the same cells in random
        order among it.
    """
    chosen = [unseen[place] for place in np.unique(np.linspace(0, len(unseen) - 1, count).astype(int))]
    labels = model_labels(models)
    steps = [[scoring_step(grader) for grader in model.networks] for model in models]
    rows = {f"{method}/{label}": ([], []) for method in methods for label in labels}
    for number, one in enumerate(progress(chosen, total=len(chosen)) if progress else chosen):
        for label, model, own, networks in zip(labels, models, steps, one.networks, strict=True):
            image = _prepared(one.photograph.path, model)
            score = _mean_score([own[k] for k in networks])
            for method in methods:
                explainer = Explainer([[model.networks[k] for k in networks]], method)
                cells = explainer.explain([image])[0].maps[0]
                pixels, grid = image.prepared[model.image_size].pixels, explainer.grids[0]
                for found, order in zip(
                    rows[f"{method}/{label}"], (cells, random_order(cells, seed + number)), strict=True
                ):
                    heat = place_on_square(order, grid)
                    found.append(
                        deletion_insertion(score, pixels, heat, seed=seed)
                        | road(score, pixels, heat, seed=seed)
                    )
    return {name: summarise_faithfulness(*found, seed=seed) for name, found in rows.items()}


def _prepared(path, model):
    ((loaded,),) = load_photographs([path], [model.image_size], normalization=model.rules.normalization)
    return readable(*loaded)


def _mean_score(steps):
    return lambda images: np.mean([step(images).numpy() for step in steps], axis=0)


def table(result):
    """Lines of text: each measure of each method, and how far it is above the same cells in random order."""
    lines = [f"{'area, 95 % interval':28}" + "".join(f"{name:>24}{'above random':>24}" for name in MEASURES)]
    for method, row in result.items():
        cells = [_cell(of[name]) for name in MEASURES for of in (row, row["above_random"])]
        lines.append(f"{method:28}" + "".join(f"{cell:>24}" for cell in cells))
    return lines


def _cell(interval):
    return f"{interval['value']:.2f} ({interval['low']:.2f} to {interval['high']:.2f})"
