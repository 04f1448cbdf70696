"""Comparison of an exported model with its Keras networks; it is written only if the grades agree."""

import time
from pathlib import Path

import numpy as np

from dr_keras import files
from dr_keras.data.cache import SYNTHETIC
from dr_keras.errors import InputError
from dr_keras.export.metadata import describe as describe_model
from dr_keras.grades import score_to_grade
from dr_keras.metrics import quadratic_weighted_kappa


def compare(scores, reference, grades, thresholds):
    """Compares an exported model's scores with those of the Keras networks on the same photographs.

    Args:
        scores, reference: scores of the exported model and of Keras, float (n,), in grade units.
        grades: true grades (n,).
        thresholds: four increasing scores that separate the grades.

    Returns:
        Dict of `photographs`, `max_score_difference` and `mean_score_difference` (grade units), `agreement`
        (share of equal grades), `kappa` of the exported model and `kappa_change` (from that of Keras).
    """
    ours, theirs = score_to_grade(scores, thresholds), score_to_grade(reference, thresholds)
    difference = np.abs(np.asarray(scores, "float64") - reference)
    kappa = quadratic_weighted_kappa(grades, ours)
    return {
        "photographs": len(difference),
        "max_score_difference": float(difference.max()),
        "mean_score_difference": float(difference.mean()),
        "agreement": float(np.mean(ours == theirs)),
        "kappa": kappa,
        "kappa_change": kappa - quadratic_weighted_kappa(grades, theirs),
    }


def describe(compared, are_drawn=False):
    """Returns the result of `compare` as one line of text; of drawn photographs a kappa says nothing."""
    text = (
        f"{compared['photographs']} {'drawn ' * are_drawn}photographs: score difference at most "
        f"{compared['max_score_difference']:.4f}, mean {compared['mean_score_difference']:.4f}; "
        f"same grade {100 * compared['agreement']:.1f} %"
    )
    kappa = f"; kappa {compared['kappa']:.3f} ({compared['kappa_change']:+.4f})"
    return text if are_drawn else text + kappa


def require_agreement(compared, least):
    """Raises `InputError` if the share of equal grades is below `least`."""
    if not compared["agreement"] >= least:
        raise InputError(
            f"--min_agreement={least:g}: only {100 * compared['agreement']:.1f} % of "
            f"{compared['photographs']} photographs have the grade that Keras gives them; nothing was "
            "written. Try --quantize=float16, photographs like those to be graded as --data_dir, or a lower "
            "number"
        )


def graded_photographs(prepared, seed):
    """Positions of the photographs that have a grade, in random order; `InputError` if none has."""
    graded = np.flatnonzero(prepared.grades >= 0)
    if not len(graded):
        raise InputError(f"{prepared.root or prepared.folder}: no photograph has a grade to compare with")
    return np.random.default_rng(seed).permutation(graded)


def compare_with_keras(score, grader, prepared, positions):
    """Scores photographs with a function and with Keras, one by one to spare memory; result of `compare`."""
    images = (prepared.read(positions[place : place + 1]) for place in range(len(positions)))
    scores = [(score(image)[0], grader.score_prepared(image)[0]) for image in images]
    ours, theirs = np.array(scores).T
    return compare(ours, theirs, prepared.grades[positions], grader.rules.thresholds)


def latency(score, image, runs=30):
    """Returns the median time in seconds that `score` takes for one image, (1, size, size, 3)."""
    seconds = []
    for _ in range(runs + 2):
        start = time.perf_counter()
        score(image)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[2:]))


def export_checked(
    convert,
    embed,
    load,
    grader,
    prepared,
    path,
    quantize="none",
    calibration_images=100,
    check_images=200,
    min_agreement=0.9,
    seed=0,
):
    """Converts a model to a file, compares it with Keras on photographs, and writes it if it grades alike.

    Args:
        convert: function (graders, quantize, images) to the file's bytes.
        embed: function (bytes, description) to the bytes with the description inside.
        load: function of the file's bytes to a `Runtime`.
        grader: `Grader`; all its networks are built in, and its rules travel inside the file.
        prepared: `PreparedDataset` with graded photographs, of the grader's image size.
        path: the file to write; what was compared is written beside it, as `.json`.
        quantize: see `convert`.
        calibration_images: for int8, how many photographs the ranges are taken from, others than those
            compared on where there are enough.
        check_images: how many photographs to compare on.
        min_agreement: least share of them that must have the same grade.
        seed: seed of which photographs are taken.

    Returns:
        What was found, in one line.

    Raises:
        InputError: if the agreement is lower (nothing is written), or no photograph has a grade.
    """
    graded = graded_photographs(prepared, seed)
    compared, calibrating = graded[:check_images], graded[-calibration_images:]
    path = Path(path)
    described = describe_model(grader.networks, grader.rules, path.stem) | {"quantize": quantize}
    representative = prepared.read(calibrating) if quantize == "int8" else None
    content = embed(convert(grader.networks, quantize, representative), described)
    runtime = load(content)
    checked = compare_with_keras(runtime.score, grader, prepared, compared)
    require_agreement(checked, min_agreement)
    with files.atomic_path(path) as temporary:
        temporary.write_bytes(content)
        files.write_json(path.with_suffix(".json"), described | {"checked": checked})
    milliseconds = 1000 * latency(runtime.score, prepared.read(compared[:1]))
    found = describe(checked, prepared.name == SYNTHETIC)
    if quantize == "int8" and prepared.name == SYNTHETIC:
        found += "; its ranges are of drawn photographs, for real ones name some as --data_dir"
    return f"{len(content) / 1e6:.1f} MB, {milliseconds:.1f} ms a photograph; {found}"
