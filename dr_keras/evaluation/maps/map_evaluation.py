"""The maps of trained models, scored against lesion masks beside maps that know nothing."""

import collections
import dataclasses

import keras
import numpy as np

from dr_keras.data.duplicates import match_duplicates
from dr_keras.data.inspection import inspect_files
from dr_keras.data.lesion_masks import read_masks
from dr_keras.errors import InputError
from dr_keras.evaluation.maps.localisation import centre_prior, score_map
from dr_keras.evaluation.maps.method_comparison import CENTRE, FUSED, RANDOM, RANDOMISED, compare_methods
from dr_keras.explain.explainer import Explainer, load_photographs
from dr_keras.explain.geometry import place
from dr_keras.explain.lesion_findings import on_frame
from dr_keras.inference.grader import common_normalization, networks_at
from dr_keras.lesion_kinds import CHANNELS, LESIONS
from dr_keras.models.grader_model import is_linear_unit, network_of
from dr_keras.training import run_folder
from dr_keras.training.lesions.masked_splits import HELD_OUT, MASKED_SPLIT


@dataclasses.dataclass(frozen=True)
class UnseenNetworks:
    """Who may explain a photograph: of each model, the positions of its networks that never saw it."""

    photograph: object
    networks: tuple[tuple[int, ...], ...]


def find_unseen_networks(models, photographs, graded):
    """Finds for each masked photograph the networks that were neither trained nor chosen on it or its mask.

    Masked photographs have names of their own, yet most are copies of graded ones, or second
    exposures of the same eye: these are found by their pixels (`data.duplicates`).

    Args:
        models: list of `Grader`.
        photographs: list of `MaskedPhotograph`.
        graded: list of `Record`: the graded photographs that the models may have been trained on.

    Returns:
        List of `UnseenNetworks` of those photographs that each model has a network for, and the number of
        photographs that show the same eye as a graded one.
    """
    matches = _matches(photographs, graded)
    seen = [
        [
            np.isin(run_folder.splits_of(path.parent / run_folder.SPLIT, graded), run_folder.SEEN)
            for path in model.model_files
        ]
        for model in models
    ]
    masked = [
        [run_folder.read_splits(path.parent / MASKED_SPLIT) for path in model.model_files] for model in models
    ]
    found = []
    for number, photograph in enumerate(photographs):
        networks = tuple(
            tuple(
                k
                for k, known in enumerate(of_model)
                if not known[matches[number]].any() and learnt[k].get(photograph.image, HELD_OUT) == HELD_OUT
            )
            for of_model, learnt in zip(seen, masked, strict=True)
        )
        if all(networks):
            found.append(UnseenNetworks(photograph, networks))
    return found, sum(bool(same) for same in matches.values())


def unseen_healthy(model, graded):
    """The photographs of grade 0 that some of a model's networks never saw: list of (path, positions)."""
    seen = [
        np.isin(run_folder.splits_of(path.parent / run_folder.SPLIT, graded), run_folder.SEEN)
        for path in model.model_files
    ]
    found = []
    for index, record in enumerate(graded):
        networks = tuple(number for number, known in enumerate(seen) if not known[index])
        if record.grade == 0 and networks:
            found.append((record.path, networks))
    return found


def _matches(photographs, graded):
    """Positions of the graded photographs that show the same eye as each masked one: dict of lists."""
    found = {number: [] for number in range(len(photographs))}
    if graded:
        masked, known = (
            [seen.fingerprint for seen in inspect_files([item.path for item in some])]
            for some in (photographs, graded)
        )
        readable = [number for number, vector in enumerate(known) if vector is not None]
        unreadable = [item.path for item, vector in zip(photographs, masked, strict=True) if vector is None]
        if unreadable:
            raise InputError(f"{unreadable[0]}: can't be read")
        for first, second, _ in match_duplicates(np.stack(masked), np.stack([known[n] for n in readable])):
            found[first].append(readable[second])
    return found


def evaluate_maps(models, unseen, methods=("ram",), max_side=1024, batch_size=8, seed=0, progress=None):
    """Scores the maps of models against lesion masks.

    Args:
        models: list of `Grader`.
        unseen: list of `UnseenNetworks`.
        methods: some of `explainer.METHODS`.
        max_side: longer side of the frame in which maps and masks are compared, in pixels; IDRiD's masks
            are compared at their own size of 1024 here.
        batch_size: photographs in a batch.
        seed: seed of the random map and the bootstrap.
        progress: wraps the photographs as `tqdm.tqdm` does, called with `total`.

    Returns:
        dict `{method: {lesion: {"auprc", "prevalence", "pointing_game", "best_iou", "energy_inside": each
        {"value", "low", "high"}, "n", "above"}}}`; see `localisation.score_map`, and `compare_methods` for
        `above`, which methods have and baselines lack. Methods are named
        "ram/NETWORK_SIZE"; "fused" is the mean of the models' RAMs (P2 section 4.5.2); the baselines are
        "random" (noise, cell by cell), "centre" (a Gaussian on the middle) and "randomised/NETWORK_SIZE"
        (the RAM of as many of the same networks before any training).
    """
    rows = collections.defaultdict(lambda: collections.defaultdict(list))
    results = _scored(models, unseen, methods, max_side, batch_size, np.random.default_rng(seed))
    for scores in progress(results, total=len(unseen)) if progress else results:
        for (method, lesion), row in scores.items():
            if not np.isnan(row["auprc"]):
                rows[method][lesion].append(row)
    return compare_methods(rows, seed)


def model_labels(models):
    """A name for each model, of its architecture and size; numbered where several are alike."""
    names = [f"{network_of(model.networks[0]).name}_{model.image_size}" for model in models]
    return [
        f"{name}_{names[: number + 1].count(name)}" if names.count(name) > 1 else name
        for number, name in enumerate(names)
    ]


def _scored(models, unseen, methods, max_side, batch_size, generator):
    """Yields for each photograph a dict of (method, lesion) to the measures of `score_map`."""
    has_baseline = "ram" in methods
    untrained = [untrained_networks(model.networks) if has_baseline else () for model in models]
    sizes = {model.image_size for model in models}
    groups = collections.defaultdict(list)
    for one in unseen:
        groups[one.networks].append(one.photograph)
    for networks, photographs in groups.items():
        graders = networks_at(models, networks)
        baselines = [own[: len(used)] for own, used in zip(untrained, graders, strict=True)]
        explainers = dict(_explainers(model_labels(models), graders, baselines, methods))
        remaining = iter(photographs)
        paths = [photograph.path for photograph in photographs]
        for batch in load_photographs(paths, sizes, max_side, batch_size, common_normalization(models)):
            loaded = [readable(path, photograph, reason) for path, photograph, reason in batch]
            explained = [explainer.explain(loaded) for explainer in explainers.values()]
            for explanations in zip(*explained, strict=True):
                named = dict(zip(explainers, explanations, strict=True))
                yield _score(next(remaining), named, generator)


def untrained_networks(networks):
    """As many networks before any training, each of other weights, as a model's folds have.

    A score that starts from zero, whose map is flat, starts at random. From the second network on the
    channels of every kernel are in another order, since all start from the same seed.

    Args:
        networks: Keras models of one architecture.
    """
    return [_untrained(network, number) for number, network in enumerate(networks)]


def _untrained(grader, number):
    clone, rng = keras.models.clone_model(grader), np.random.default_rng(number)
    for weight in clone.trainable_weights if number else ():
        if len(weight.shape) > 1:
            values = weight.numpy()[..., rng.permutation(weight.shape[-1])]
            weight.assign(values[..., rng.permutation(weight.shape[-2]), :])
    score = network_of(clone).layers[-1]
    if is_linear_unit(score) and not score.kernel.numpy().any():
        score.kernel.assign(keras.random.normal(score.kernel.shape, seed=number))
    return clone


def readable(path, photograph, reason):
    """Returns a photograph as `load_photographs` yields it; `InputError` if its file can't be read."""
    if photograph is None:
        raise InputError(f"{path}: {reason}")
    return photograph


def _explainers(labels, graders, baselines, methods):
    for method in methods:
        for label, own in zip(labels, graders, strict=True):
            yield f"{method}/{label}", Explainer([own], method)
    if "ram" in methods:
        if len(graders) > 1:
            yield FUSED, Explainer(graders)
        for label, own in zip(labels, baselines, strict=True):
            yield f"{RANDOMISED}/{label}", Explainer([own])


def _score(photograph, explanations, generator):
    explanation = next(iter(explanations.values()))
    height, width = explanation.heat.shape
    view, grid = explanation.field_of_view, explanation.grids[0]
    noise = generator.random(explanation.maps[0].shape, dtype="float32")
    baselines = {RANDOM: place(noise, grid, view, height, width), CENTRE: centre_prior(view)}
    rows = {}
    for lesion, mask in read_masks(photograph, height, width).items():
        heats = {method: heat_of(found, lesion) for method, found in explanations.items()} | baselines
        rows |= {(method, lesion): score_map(heat, mask, view) for method, heat in heats.items()}
    return rows


def heat_of(explanation, lesion):
    """What an explanation says of a kind of lesion: float32 (height, width), over the photograph.

    Of a lesion network that is the probability of that kind; `ANY_LESION`, and kinds that the network doesn't
    know, get that of any. Other maps say the same of every kind.
    """
    if explanation.findings is None:
        return explanation.heat
    probabilities = explanation.findings.probabilities
    if lesion in LESIONS:
        chosen = probabilities[..., CHANNELS.index(lesion)]
    else:
        chosen = 1 - np.prod(1 - probabilities[..., : len(LESIONS)], axis=-1)
    return on_frame(chosen, explanation.field_of_view)
