"""Whether an exported model gives the grades of the networks that it was made of; if so it is written."""

import time
from pathlib import Path

import numpy as np

from dr_keras import files
from dr_keras.errors import InputError
from dr_keras.export.metadata import describe as describe_model
from dr_keras.grades import DEFAULT_THRESHOLDS, score_to_grade
from dr_keras.metrics import quadratic_weighted_kappa


def compare(scores, reference, grades, thresholds):
    """Compares an exported model's scores with those of the Keras networks on the same photographs.

    Args:
        scores, reference: float arrays (n,), in grade units.
        grades: true grades (n,).
        thresholds: four cuts from score to grade.

    Returns:
        Dict of `photographs`, `max_score_difference` and `mean_score_difference` (grade units), `agreement`
        (share of equal grades), `kappa` of the model and `kappa_change`.
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


def describe(compared):
    """One line of what `compare` found."""
    return (
        f"{compared['photographs']} photographs: score difference at most "
        f"{compared['max_score_difference']:.4f}, mean {compared['mean_score_difference']:.4f}; "
        f"same grade {100 * compared['agreement']:.1f} %; "
        f"kappa {compared['kappa']:.3f} ({compared['kappa_change']:+.4f})"
    )


def require_agreement(compared, least):
    """Raises `InputError` if fewer photographs than the share `least` got the grade that they should."""
    if not compared["agreement"] >= least:
        raise InputError(
            f"--min_agreement={least:g}: only {100 * compared['agreement']:.1f} % of "
            f"{compared['photographs']} photographs have the grade that Keras gives them; nothing was written"
        )


def latency(score, image, runs=30):
    """Median seconds that `score` takes for one image, (1, size, size, 3)."""
    seconds = []
    for _ in range(runs + 2):
        start = time.perf_counter()
        score(image)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[2:]))


def export_checked(
    convert,
    load,
    model,
    prepared,
    path,
    quantize="none",
    thresholds=DEFAULT_THRESHOLDS,
    calibration_images=100,
    check_images=200,
    min_agreement=0.9,
    seed=0,
):
    """Converts a model to a file, compares it with Keras on photographs, and writes it if it grades alike.

    Args:
        convert: function (graders, quantize, images) to the file's bytes.
        load: function of these bytes to a function of images to scores.
        model: `GradingModel`; all its networks are built in.
        prepared: `PreparedDataset` with graded photographs, of the model's image size.
        path: of the file; its metadata is written beside it, as `.json`.
        quantize: see `convert`.
        thresholds: four cuts from score to grade.
        calibration_images: for int8, how many photographs the ranges are taken from, others than those
            compared on where there are enough.
        check_images: how many photographs to compare on.
        min_agreement: least share of them that must have the same grade.
        seed: of which photographs are taken.

    Returns:
        What was found, in one line.

    Raises:
        InputError: if the agreement is lower (nothing is written), or no photograph has a grade.
    """
    graded = np.flatnonzero(prepared.grades >= 0)
    if not len(graded):
        raise InputError(f"{prepared.root or prepared.folder}: no photograph has a grade to compare with")
    graded = np.random.default_rng(seed).permutation(graded)
    compared, calibrating = graded[:check_images], graded[-calibration_images:]
    content = convert(model.graders, quantize, prepared.read(calibrating))
    score = load(content)
    images = prepared.read(compared)
    reference = np.mean([step(images).numpy() for step in model.scoring_steps()], axis=0)
    checked = compare(score(images).numpy(), reference, prepared.grades[compared], thresholds)
    require_agreement(checked, min_agreement)
    path = Path(path)
    described = describe_model(model.graders, thresholds, path.stem)
    files.write_json(path.with_suffix(".json"), described | {"quantize": quantize, "checked": checked})
    with files.atomic_path(path) as temporary:
        temporary.write_bytes(content)
    milliseconds = 1000 * latency(score, images[:1])
    return f"{len(content) / 1e6:.1f} MB, {milliseconds:.1f} ms a photograph; {describe(checked)}"
