import json
import re
import resource
import warnings

import numpy as np
import pytest
from html_pages import Page

import dr_keras
from dr_keras.evaluation.crossfit import EvaluationSet
from dr_keras.evaluation.model_comparison import classifier_figures, compare
from dr_keras.evaluation.statistics import describe
from dr_keras.grades import DEFAULT_THRESHOLDS, score_to_grade
from dr_keras.report import report_page
from dr_keras.report.figures import confusion_figure, style
from dr_keras.report.gallery import Case, Photographs
from dr_keras.report.metrics_report import write_report
from dr_keras.report.progression import Progression

FACTS = {"Model": "runs/net<5>", "Data": "idrid & more", "Photographs": "60 photographs, split test"}
SECTIONS = [
    "In short",
    "Which grades are confused?",
    "Scores of each grade",
    "Too high or too low?",
    "Finding eyes to refer",
    "Each grade against all others",
    "Where does one grade end and the next begin?",
    "Can the probability be trusted?",
    "If doubtful photographs go to a doctor",
    "Compared with other models",
    "The worst errors",
    "From healthy to severe",
    "How this report was made",
]
FIGURES = {
    "confusion_matrix",
    "score_densities",
    "signed_error",
    "referable_roc",
    "referable_precision_recall",
    "grade_roc",
    "threshold_ranges",
    "threshold_kappas",
    "reliability",
    "referral",
}


def random_scored(n=60):
    labels = np.arange(n) % 5
    names = [f"folder/{number:02d}.png" for number in range(n)]
    return EvaluationSet(names, names, labels, 0.8 * labels + np.random.default_rng(0).normal(0, 0.6, n))


def write(folder, scored, photographs=None, **more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        further = {**describe(scored), **more}
        metrics = write_report(
            folder, scored.images, scored.labels, scored.scores, patients=scored.patients, further=further
        )
    report_page.write_page(folder, scored, metrics, FACTS, photographs)
    text = (folder / "report.html").read_text(encoding="utf-8")
    return metrics, text, Page(text)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder, metrics, text and parsed page of a report with everything in it."""
    folder = tmp_path_factory.mktemp("reports") / "report"
    scored = random_scored()
    pictures = np.random.default_rng(1).integers(0, 255, (4, 24, 24, 3)).astype(np.uint8)
    ranking = Progression(list("abcd"), np.arange(4), np.arange(4.0), pictures)
    cases = [Case(7, pictures[0], np.zeros((24, 30, 3), np.uint8)), Case(9, pictures[1], None, "it is gone")]
    table = {"image": scored.images, "grade": score_to_grade(scored.scores)}
    other = EvaluationSet(scored.images, scored.patients, scored.labels, scored.scores[::-1])
    more = {
        "compared_with": [compare(scored, DEFAULT_THRESHOLDS, other, DEFAULT_THRESHOLDS, "runs/<other>")],
        "classifier": classifier_figures("c.csv", table, scored),
    }
    return folder, *write(folder, scored, Photographs(cases, "ram", ranking), **more)


def test_the_page_is_whole_and_has_every_section(written):
    page = written[3]
    assert page.open == [] and page.wrong == []
    for title in SECTIONS:
        assert page.words.count(title) == 2, title  # in the contents and as a heading
    assert len(page.all("h2")) == len(SECTIONS)
    targets = {attributes.get("id") for _, attributes in page.tags}
    assert {link["href"].removeprefix("#") for link in page.all("a")} <= targets
    assert page.words.startswith("Grading diabetic retinopathy: how good is the model? Research use only.")


def test_the_page_needs_nothing_from_outside(written):
    text, page = written[2:]
    assert "http" not in re.sub(r'src="data:[^"]*"', "", text)
    assert "url(" not in text and "@import" not in text
    assert not {"script", "link", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    sources = [attributes["src"] for _, attributes in page.tags if "src" in attributes]
    assert all(source.startswith("data:image/") for source in sources)


def test_pictures_decode_and_say_what_they_show(written):
    page = written[3]
    images = page.all("img")
    assert len(images) == len(FIGURES) + 1 + 3 + 4  # the classifier's matrix; the gallery; the ranking
    for alt, picture in page.pictures().items():
        assert len(alt) > 10 and picture.size
    assert len(page.all("figure")) == len(page.all("figcaption")) == len(FIGURES) + 1


def test_figures_lie_beside_the_page(written):
    folder = written[0]
    names = {path.stem for path in folder.glob("*.png")}
    assert names == FIGURES | {"classifier_confusion_matrix", "worst_errors", "progression"}
    assert {path.name for path in folder.iterdir() if path.suffix != ".png"} == {
        "metrics.json",
        "predictions.csv",
        "report.html",
    }


def test_numbers_of_the_page_are_those_of_the_metrics(written):
    folder, metrics, _, page = written
    assert json.loads((folder / "metrics.json").read_text())["n"] == 60
    kappa = metrics["quadratic_weighted_kappa"]
    shown = f"{kappa['value']:.2f} 95 % interval: {kappa['low']:.2f} to {kappa['high']:.2f}"
    assert f"Agreement (quadratic weighted kappa) {shown}" in page.words
    point = metrics["referable"]["operating_points"]["high_specificity"]
    assert f"98 % specificity {point['cut']:.2f} {100 * point['sensitivity']['value']:.0f} % (" in page.words
    assert f"{point['false_negatives']} / {point['false_positives']}" in page.words
    recall = metrics["grades"][2]["recall"]
    assert (
        f"2 moderate NPDR 12 {metrics['grades'][2]['num_predicted']} {100 * recall['value']:.0f} % ("
        in page.words
    )
    for key, name in (("fixed", "fixed"), ("kappa_optimal", "best kappa")):
        scheme = metrics["threshold_schemes"][key]
        assert f"{name} {' '.join(f'{cut:.2f}'.replace('-', '−') for cut in scheme['cuts'])}" in page.words


def test_the_page_says_how_it_was_made(written):
    page = written[3]
    assert "Model net<5> on 60 graded photographs of the dataset idrid & more" in page.words
    assert "runs/net<5>" in page.words and "60 photographs, split test" in page.words
    assert "Thresholds 0.5, 1.5, 2.5, 3.5" in page.words
    assert "chosen on these 60 photographs in 5 parts" in page.words
    versions = report_page.software_versions()
    assert list(versions) == ["dr_keras", "python", "tensorflow", "keras"]
    assert versions["dr_keras"] == dr_keras.__version__
    assert ", ".join(f"{name} {version}" for name, version in versions.items()) in page.words


def test_gallery_and_comparison(written):
    page = written[3]
    assert "07.png: score " in page.words and "true grade 2, moderate NPDR (" in page.words
    assert "No map: it is gone." in page.words
    assert "runs/<other> kappa" in page.words
    assert "3.00 (true 3)" in page.words


def write_again(folder, metrics):
    """The page alone, from metrics that are there, without photographs."""
    folder.mkdir(exist_ok=True)
    metrics = {key: value for key, value in metrics.items() if key not in ("compared_with", "classifier")}
    style.write_png(folder / "confusion_matrix.png", confusion_figure(metrics["confusion_matrix"]))
    report_page.write_page(folder, random_scored(), metrics, FACTS)
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def plain(tmp_path_factory, written):
    """The folder and text of a report without photographs."""
    folder = tmp_path_factory.mktemp("plain")
    return folder, write_again(folder, written[1])


def test_a_report_without_photographs(plain):
    folder, text = plain
    assert len(Page(text).all("h2")) == len(SECTIONS) - 3
    assert not (folder / "progression.png").exists()


@pytest.mark.parametrize("case", ["one grade", "no score"])
def test_what_is_not_defined_is_a_dash_and_a_note(tmp_path, case):
    labels = np.full(6, 1) if case == "one grade" else np.arange(6) % 5
    scores = np.linspace(0.5, 1.2, 6) if case == "one grade" else np.full(6, np.nan)
    names = list("abcdef")
    metrics, text, page = write(tmp_path, EvaluationSet(names, names, labels, scores))
    assert page.open == [] and page.wrong == []
    assert "nan" not in page.words.replace("nance", "").split()
    assert "Agreement (quadratic weighted kappa) – no interval" in page.words
    for note in metrics["notes"]:
        assert f"Note: {note}." in page.words
    assert ("6 photographs have no score" in page.words) == (case == "no score")


def test_a_disk_that_fills_leaves_the_old_page(plain, written):
    folder, text = plain
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (400_000, before[1])
    )  # enough for each figure, not for the page
    try:
        with pytest.raises(OSError, match="File too large"):
            write_again(folder, written[1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (folder / "report.html").read_text(encoding="utf-8") == text
    assert not list(folder.glob(".part-*"))
