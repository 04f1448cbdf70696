"""The page that shows P1's results beside the paper's own, and the same as lines of text."""

from pathlib import Path

from dr_keras import files
from dr_keras.papers.alexnet.lesion_check import AREA, HIT
from dr_keras.report import html_page
from dr_keras.report.wording import UNDEFINED, interval_text, number, share_text

TITLE = "The transferred AlexNet: regression, occlusion test, abnormal patches"
_DIFFERENCES = (
    "The paper had 9,024 photographs of EyePACS and a trunk with ImageNet weights. The full report of "
    "the regressor is report/report.html, beside this html_page."
)
_EXPLORER = html_page.Html(
    '<p><a href="clusters/patches.html">Look through the patches</a>: point at one to see it.</p>'
)
# Sections of figures: anchor, title, and of each picture its file, what it shows, how to read it.
_FIGURES = (
    ("classification", "Classification against regression (figure 6)", (
        ("report/classifier_confusion_matrix.png", "Confusion matrix of the classifier",
         "The classifier: cells far from the diagonal are stages skipped; the lower left corner is "
         "proliferative disease called normal."),
        ("report/score_densities.png", "Density of the regressor's scores of each true grade",
         "The regressor: where the scores of each true grade lie."),
    )),
    ("ranges", "Range separation (figure 7)", (
        ("ranges.png", "Densities of the scores, and the range of each grade",
         "Cuts from the scores of the training photographs, beside fixed ones. The sigmoid keeps the mean "
         "of grade 4 below 4."),
    )),
    ("one-against-all", "Each grade against all others (figure 8)", (
        ("rocs.png", "ROC curves of each grade, of regressor and classifier",
         "Left the regressor, photographs ranked by how near their score comes to the grade; right the "
         "classifier, by the grade's probability."),
    )),
    ("saliency", "Occlusion test (figure 9)", (
        ("saliency.png", "Photographs, and what hiding each of 36 cells takes from their scores",
         "Held-out photographs with the highest scores of each grade. Red: hiding the place lowers the "
         "score; full colour at half a grade."),
    )),
    ("patches", "Abnormal patches and their clusters (figure 10)", (
        ("clusters/clusters.png", "Patches by t-SNE, examples of clusters and stages",
         "Left all patches, coloured by cluster; then those with the largest drops of each cluster and of "
         "each true grade."),
        ("clusters/stages.png", "Share of each grade in each cluster",
         "A cluster of one colour is of one stage."),
        ("clusters/silhouette.png", "Silhouette against the number of clusters",
         "Higher is better separated; where the curve is flat and low, no number of clusters is natural."),
    )),
    ("progression", "Transformation (figure 11)", (
        ("progression.png", "Photographs in increasing order of score",
         "Evenly over the range of scores; photographs that trained the network are among them."),
    )),
)  # fmt: skip
_WIDE = ("rocs.png", "saliency.png", "clusters/clusters.png")  # as wide as the page
LESION_HEADER = (
    "Lesion", "Photographs", "Patches", "Hold it", "At random", "Of their area", "At random", "Points more"
)  # fmt: skip


def rows(results):
    """Rows of (what, the paper's, ours): figures of `reproduction.reproduce` beside those that P1 prints."""
    return [*_setting(results), *_classification(results), *_areas(results), *_patches(results["patches"])]


def _setting(results):
    subset = ", ".join(map(str, results["subset"]))
    yield "photographs of grades 0 to 4", "3000, 2443, 2000, 873, 708 (EyePACS)", subset
    yield "of them held out and judged", "10 %", str(results["n"])


def _classification(results):
    accuracy, kappa, errors = results["accuracy"], results["kappa"], results["stage_errors"]
    kappas = ", ".join(interval_text(kappa[name]) for name in ("regressor", "classifier"))
    yield "classifier: accuracy", "61 %", share_text(accuracy["classifier"])
    for name, said in (("classifier", "occurs"), ("regressor", UNDEFINED)):
        own = errors[name]
        called = f"{own['proliferative_called_normal']} of {own['proliferative']}"
        yield f"{name}: proliferative called normal", said, called
        yield f"{name}: two stages off or more", said, f"{own['skipped']} of {own['n']}"
    yield "regressor: accuracy, fixed thresholds", UNDEFINED, share_text(accuracy["regressor"])
    separated = share_text(results["range_separation"]["accuracy"])
    yield "regressor: accuracy, range separation", "not satisfactory", separated
    yield "kappa: regressor, classifier", UNDEFINED, kappas
    means = ", ".join(number(mean, 1) for mean in results["mean_score"])
    yield "mean score of grades 0 to 4", "grade 4 near 3", means


def _areas(results):
    for row in results["one_against_all"]:
        areas = ", ".join(number(row[name]["value"]) for name in ("regressor", "classifier"))
        difference = interval_text(row["difference"], sign=True)
        what = f"AUC of grade {row['grade']}: regressor, classifier"
        yield what, "regressor better", f"{areas}; difference {difference}"


def _patches(patches):
    clusters = patches["clusters"]
    silhouette = {row["k"]: row["silhouette"] for row in clusters["silhouettes"]}[clusters["k"]]
    yield f"patches with a drop above {patches['threshold']:g}", "2,772", f"{patches['patches']:,}"
    if "used_patches" in patches:
        used = f"{patches['used_patches']:,} above {patches['used_threshold']:.3g}"
        yield "patches clustered", "the same", used
    yield "clusters; their mean silhouette", "20", f"{clusters['k']}; {number(silhouette)}"
    test = f"Cramér's V {number(clusters['cramers_v'])}, p {number(clusters['p_value_by_photograph'], 3)}"
    yield "stages over clusters", "some fixed clusters for a stage", f"{test} by photograph"


def lesion_rows(check):
    """Rows of the lesion check: lesion, photographs, patches, shares that hold it, and of their area."""
    return [
        (lesion.replace("_", " "), row["n"], row["patches"], share_text(row[HIT]["patches"]),
         share_text(row[HIT]["random"]),
         *[f"{100 * row[AREA][name]['value']:.2f} %" for name in ("patches", "random")],
         interval_text({key: 100 * value for key, value in row[AREA]["difference"].items()}, sign=True))
        for lesion, row in check["lesions"].items()
    ]  # fmt: skip


def lines(results):
    """The comparison, and the lesion check, as lines of text."""
    found = [f"{'':44}{'paper':40}here"]
    found += [f"{what:44}{theirs:40}{ours}" for what, theirs, ours in rows(results)]
    check = results["lesion_check"]
    if "left_out" in check:
        return [*found, f"lesion check: left out: {check['left_out']}"]
    table = [LESION_HEADER, *lesion_rows(check)]
    return [*found, "", *["".join(f"{cell!s:>22}" for cell in row) for row in table]]


def write_page(output_dir, results, done):
    """Writes `index.html`.

    Args:
        output_dir: folder with the figures.
        results: as from `reproduction.reproduce`.
        done: `ModelEvaluation` of the regressor.
    """
    output_dir = Path(output_dir)
    heads, remark = ("What", "Paper", "Here"), "95 % intervals in brackets."
    numbers = html_page.table(heads, rows(results), remark, words=True)
    sections = [html_page.Section("numbers", "The paper's numbers and ours", (numbers, _DIFFERENCES))]
    for name, title, pictures in _FIGURES:
        blocks = [_picture(output_dir, *each) for each in pictures]
        if name == "patches":
            blocks = [_found(results["patches"]), _EXPLORER, *blocks]
        sections.append(html_page.Section(name, title, tuple(blocks)))
    sections.insert(
        -1, html_page.Section("lesions", "Do the patches hold lesions?", _lesions(results["lesion_check"]))
    )
    lead = f"Photographs of the dataset {done.prepared.name}: {results['photographs']}."
    files.write_text(output_dir / "index.html", html_page.page(TITLE, lead, sections))


def _picture(output_dir, file, alt, reading_help):
    data = (output_dir / file).read_bytes()
    if file in _WIDE:
        return html_page.photographs([([(data, alt, 1.0)], reading_help)], wide=True)
    return html_page.figure(data, alt, reading_help)


def _found(patches):
    counts = ", ".join(map(str, patches["of_grade"]))
    return f"{patches['summary']}, training photographs among them; of true grades 0 to 4: {counts}."


def _lesions(check):
    if "left_out" in check:
        return (f"Left out: {check['left_out']}.",)
    return (
        f"{check['masked']} photographs have lesion masks; {check['photographs']} of them no network ever "
        f"saw. {check['with_patches']} of these have patches with a drop above {check['threshold']:.3g}, "
        f"{check['patches']} in all. Random patches are of the same retina and size, anywhere in view.",
        html_page.table(
            LESION_HEADER, lesion_rows(check),
            "Share of patches that hold some of the lesion, and share of their area on it, in photographs "
            "that have the lesion; 95 % intervals over photographs. IDRiD's masks leave out new vessels.",
            words=True,
        ),
    )  # fmt: skip
