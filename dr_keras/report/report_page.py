"""The report that a clinician reads: `report.html`, one file that needs no other, and its figures as PNG."""

import importlib.metadata
import platform
from pathlib import Path

import numpy as np

import dr_keras
from dr_keras import files
from dr_keras.grades import score_to_grade
from dr_keras.report import html_page
from dr_keras.report.chapters.example_photographs import progression, short_name, worst_errors
from dr_keras.report.chapters.grade_agreement import (
    SCHEMES,
    confusion,
    densities,
    one_against_all,
    signed_error,
    summary,
    thresholds,
)
from dr_keras.report.chapters.method import about, comparison
from dr_keras.report.chapters.referable_disease import calibration, referable, referral
from dr_keras.report.figures import confusion_figure, curves, scores, style
from dr_keras.report.figures.sheets import sheet_figure
from dr_keras.report.progression import progression_figure

TITLE = "Grading diabetic retinopathy: how good is the model?"
_GALLERY_WIDTH = 9.0  # inches, for two photographs beside their maps


def write_page(output_dir, scored, metrics, facts, photographs=None):
    """Writes the figures and `report.html`, each whole or not at all.

    Args:
        output_dir: folder, in which `confusion_matrix.png` and the other files of `write_report` lie.
        scored: `EvaluationSet` of the photographs.
        metrics: as from `write_report`, with what `statistics.describe` adds; further `compared_with` and
            `classifier` where there are such.
        facts: dict of text to text: what is said of model and photographs; "Data" and "Model" among it.
        photographs: `Photographs`, or None for a report without them.
    """
    output_dir = Path(output_dir)
    pictures = {
        name: style.write_png(output_dir / f"{name}.png", figure)
        for name, figure in _figures(scored, metrics, photographs)
    }
    pictures["confusion_matrix"] = (output_dir / "confusion_matrix.png").read_bytes()
    cuts = ", ".join(f"{cut:g}" for cut in metrics["thresholds"])
    lead = (
        f"Model {Path(facts['Model']).name} on {metrics['n']} graded photographs of the dataset "
        f"{facts['Data']}; scores cut into grades at {cuts}."
    )
    sections = _sections(scored, metrics, facts, pictures, photographs)
    files.write_text(output_dir / "report.html", html_page.page(TITLE, lead, sections))


def _sections(scored, metrics, facts, pictures, photographs):
    sections = [
        summary(metrics),
        confusion(metrics, pictures),
        densities(metrics, pictures),
        signed_error(pictures),
        referable(metrics, pictures),
        one_against_all(metrics, pictures),
        thresholds(metrics, pictures),
        calibration(metrics, pictures),
        referral(pictures),
    ]
    if metrics.get("compared_with"):
        sections.append(comparison(metrics))
    if photographs:
        grades = score_to_grade(scored.scores, metrics["thresholds"])
        args = scored.images, scored.labels, scored.scores, grades
        if photographs.cases:
            sections.append(worst_errors(photographs.cases, *args, photographs.method))
        sections.append(progression(photographs.ranking))
    return [*sections, about(metrics, facts, software_versions())]


def _figures(scored, metrics, photographs):
    """Yields (name, figure) of each that becomes a file; one is drawn at a time."""
    given = scored.labels, scored.scores
    schemes = metrics["threshold_schemes"]
    named = {name: schemes[key] for key, name in SCHEMES.items()}
    yield "score_densities", scores.density_figure(*given)
    yield "signed_error", scores.signed_error_figure(*given)
    yield "referable_roc", curves.referable_roc_figure(*given, metrics["referable"])
    yield "referable_precision_recall", curves.precision_recall_figure(*given, metrics["referable"])
    yield "grade_roc", curves.grade_roc_figure(*given, metrics["grades"])
    cuts = {name: scheme["cuts"] for name, scheme in named.items()}
    yield "threshold_ranges", scores.threshold_ranges_figure(*given, cuts)
    kappas = [scheme["quadratic_weighted_kappa"] for scheme in named.values()]
    yield "threshold_kappas", scores.threshold_figure(list(named), kappas, metrics["n"])
    yield "reliability", curves.reliability_figure(metrics["calibration"])
    yield "referral", curves.referral_figure(metrics["referral"], metrics["n"])
    if "classifier" in metrics:
        yield "classifier_confusion_matrix", confusion_figure(metrics["classifier"]["confusion_matrix"])
    if photographs and photographs.cases:
        yield "worst_errors", _gallery_figure(scored, photographs.cases)
    if photographs:
        yield "progression", progression_figure(photographs.ranking)


def _gallery_figure(scored, cases):
    cells = []
    for case in cases:
        score, label = scored.scores[case.index], int(scored.labels[case.index])
        pictures = [case.photograph] if case.overlay is None else [case.photograph, case.overlay]
        name = short_name(scored.images[case.index])
        caption = f"{name}: score {score:.2f}, true grade {label}"
        cells.append((np.concatenate(pictures, axis=1), caption))
    return sheet_figure(cells, 2, _GALLERY_WIDTH)


def software_versions():
    """dict of software to the version that runs."""
    versions = {"dr_keras": dr_keras.__version__, "python": platform.python_version()}
    for name, packages in {"tensorflow": ("tensorflow", "tensorflow-cpu"), "keras": ("keras",)}.items():
        for package in packages:
            try:
                versions[name] = importlib.metadata.version(package)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return versions
