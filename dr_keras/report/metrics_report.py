"""The files that every evaluation leaves: metrics.json, predictions.csv and confusion_matrix.png."""

import json
from pathlib import Path

from dr_keras import files
from dr_keras.evaluation.agreement import evaluate_predictions
from dr_keras.evaluation.predictions import PREDICTIONS, write_predictions
from dr_keras.grades import DEFAULT_THRESHOLDS
from dr_keras.report.figures import confusion_figure

MODEL_SHA256 = "model_sha256"  # among the figures of `evaluate.py`


def write_report(
    output_dir, images, labels, scores, thresholds=DEFAULT_THRESHOLDS, patients=None, seed=0, further=None
) -> dict:
    """Writes `metrics.json`, `predictions.csv` and `confusion_matrix.png`, each whole or not at all.

    Args:
        output_dir: folder, made if it isn't there.
        images: n image names.
        labels, scores, thresholds, patients, seed: as for `evaluate_predictions`.
        further: dict of further figures (`statistics.describe`), which follow the others.

    Returns:
        The figures of `evaluate_predictions` and the further ones, as written to
        `metrics.json` (where NaN is null).

    Raises:
        ValueError: if `images` has another length, and where `evaluate_predictions` raises.
    """
    if len(images) != len(labels):
        raise ValueError(
            "`images` must have a name for each label. "
            f"Received: {len(images)} images and {len(labels)} labels"
        )
    output_dir = Path(output_dir)
    metrics = {**evaluate_predictions(labels, scores, thresholds, patients, seed), **(further or {})}
    kappa = metrics["quadratic_weighted_kappa"]
    title = f"quadratic weighted kappa {kappa['value']:.3f} (95 %: {kappa['low']:.3f} to {kappa['high']:.3f})"
    write_predictions(output_dir / PREDICTIONS, images, labels, scores, thresholds, patients)
    with files.atomic_path(output_dir / "confusion_matrix.png") as temporary:
        confusion_figure(metrics["confusion_matrix"], title).savefig(temporary)
    files.write_json(output_dir / "metrics.json", metrics)
    return metrics


def model_of(predictions):
    """SHA-256 of the model whose predictions a table has, by the `metrics.json` beside it; "" if unknown."""
    try:
        metrics = json.loads((Path(predictions).parent / "metrics.json").read_text(encoding="utf-8"))
        return metrics.get(MODEL_SHA256, "")
    except (OSError, ValueError, AttributeError):
        return ""


def report_writer(thresholds=DEFAULT_THRESHOLDS, seed=0):
    """Returns `report(folder, records, labels, scores)`, which writes the report of a training run."""

    def report(folder, records, labels, scores):
        images, patients = [record.image for record in records], [record.patient for record in records]
        write_report(folder, images, labels, scores, thresholds, patients, seed)

    return report
