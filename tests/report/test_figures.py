import numpy as np
import pytest
from matplotlib import pyplot
from sklearn.metrics import roc_auc_score

from dr_keras.report.figures import confusion_figure, confusion_image, curves, scores, style
from dr_keras.report.figures.sheets import sheet_figure

UNDEFINED = {"value": float("nan"), "low": float("nan"), "high": float("nan")}
SURE = {"value": 0.9, "low": 0.8, "high": 0.95}


def random_scores(n=100):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 5
    return labels, 0.8 * labels + rng.normal(0, 0.6, n)


def line(axes, label):
    return next(each for each in axes.lines if str(each.get_label()).startswith(label))


def labels_of(axes):
    return [str(each.get_label()) for each in axes.lines if not str(each.get_label()).startswith("_")]


def point(**figures):
    return {name: {"value": value, "low": value, "high": value} for name, value in figures.items()}


REFERABLE = {
    "roc_auc": SURE,
    "average_precision": UNDEFINED,
    "operating_points": {
        "high_sensitivity": point(sensitivity=0.95, specificity=0.4, ppv=0.7) | {"target": 0.975},
        "high_specificity": {
            "target": 0.98, **{name: UNDEFINED for name in ("sensitivity", "specificity", "ppv")}
        },
    },
}
BINS = [
    {"from": 0.0, "to": 0.5, "n": 8, "mean_probability": 0.2, "observed": SURE},
    {"from": 0.5, "to": 1.0, "n": 0, "mean_probability": float("nan"), "observed": UNDEFINED},
]
CUTS = {"fixed": (0.5, 1.5, 2.5, 3.5), "range separation": [None] * 4, "best kappa": (-9, 1, 2, 99)}


def every_figure(labels, values):
    grades = [{"n": int(np.sum(labels == grade)), "auc": SURE} for grade in range(5)]
    yield confusion_figure(
        12345 * np.eye(5, dtype=int), "quadratic weighted kappa 1.000 (95 %: 1.000 to 1.000)"
    )
    yield scores.density_figure(labels, values)
    yield scores.threshold_ranges_figure(labels, values, CUTS)
    yield scores.threshold_figure(list(CUTS), [SURE, UNDEFINED, dict.fromkeys(SURE)], len(labels))
    yield scores.signed_error_figure(labels, values)
    yield curves.grade_roc_figure(labels, values, grades)
    yield curves.referable_roc_figure(labels, values, REFERABLE)
    yield curves.precision_recall_figure(labels, values, REFERABLE)
    yield curves.reliability_figure({"bins": BINS, "ece": SURE})
    yield curves.referral_figure({"kept_fractions": [1.0, 0.5], "kappas": [0.6, None]}, len(labels))
    yield sheet_figure([(np.zeros((9, 9, 3), np.uint8), "score 0.00\n$5_and_$6.jpg")] * 3, 2)


@pytest.mark.parametrize("case", ["graded", "one photograph", "no score"])
def test_nothing_is_clipped_whatever_the_data(case):
    labels, values = random_scores()
    if case == "one photograph":
        labels, values = labels[:1], values[:1]
    elif case == "no score":
        values = np.full(100, np.nan)
    for figure in every_figure(labels, values):
        drawn = style.pixels(figure)
        assert drawn.shape[1] == style.WIDTH * style.DPI
        for edge in (drawn[:3], drawn[-3:], drawn[:, :3], drawn[:, -3:]):
            assert edge.min() == 255  # a label that runs over the edge would leave ink there
        assert drawn.std() > 5
    assert pyplot.get_fignums() == []


def test_axes_are_labelled():
    for figure in list(every_figure(*random_scores()))[:-1]:
        texts = " ".join(axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes)
        assert len(texts) > 15, texts


def test_confusion_figure_names_grades_counts_and_shares():
    matrix = np.zeros((5, 5), dtype=int)
    matrix[0] = [6, 2, 0, 0, 0]
    matrix[4, 3] = 1
    figure = confusion_figure(matrix, "a title")
    axes = figure.axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert texts[:3] == ["6\n75 %", "2\n25 %", "0"]
    assert texts[4 * 5 + 3] == "1\n100 %"
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows[:2] == ["0 no DR\nn = 8", "1 mild NPDR\nn = 0"]
    assert rows[4] == "4 prolif-\nerative DR\nn = 1"
    assert axes.get_xticklabels()[4].get_text() == "4\nprolif-\nerative\nDR"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted grade", "true grade")
    assert figure.get_suptitle() == "a title"
    np.testing.assert_array_equal(confusion_image(matrix), style.pixels(confusion_figure(matrix)))


def test_roc_curves_are_those_of_the_areas():
    labels, values = random_scores()
    values[3] = np.nan
    known = ~np.isnan(values)
    grades = [{"n": 20, "auc": SURE} for _ in range(5)]
    axes = curves.grade_roc_figure(labels, values, grades).axes[0]
    x, y = line(axes, "4 proliferative DR, n = 20: AUC 0.90 (0.80 to 0.95)").get_data()
    assert np.trapezoid(y, x) == pytest.approx(roc_auc_score(labels[known] == 4, values[known]))
    x, y = line(axes, "0 no DR").get_data()
    assert np.trapezoid(y, x) == pytest.approx(roc_auc_score(labels[known] == 0, -values[known]))
    axes = curves.referable_roc_figure(labels, values, REFERABLE).axes[0]
    x, y = line(axes, "AUC 0.90").get_data()
    assert np.trapezoid(y, x) == pytest.approx(roc_auc_score(labels[known] >= 2, values[known]))


def test_operating_points_are_where_their_figures_say():
    labels, values = random_scores()
    axes = curves.referable_roc_figure(labels, values, REFERABLE).axes[0]
    assert line(axes, "97.5 % sensitivity").get_xydata().tolist() == [[0.6, 0.95]]
    assert "high specificity" not in labels_of(axes)  # it isn't defined
    assert axes.get_xlabel() == "1 − specificity: of 40 not referable"
    assert axes.get_ylabel() == "sensitivity: of 60 referable"
    axes = curves.precision_recall_figure(labels, values, REFERABLE).axes[0]
    assert line(axes, "97.5 % sensitivity").get_xydata().tolist() == [[0.95, 0.7]]
    assert line(axes, "by chance").get_ydata()[0] == 0.6


def test_densities_have_area_one_and_say_n():
    labels, values = random_scores()
    axes = scores.density_figure(labels, values).axes[0]
    assert labels_of(axes)[2] == "2 moderate NPDR, n = 20"
    x, y = line(axes, "2 moderate").get_data()
    assert np.trapezoid(y, x) == pytest.approx(1, abs=0.01)


def test_no_density_of_equal_scores():
    figure = scores.density_figure(np.full(9, 3), np.ones(9))
    assert len(line(figure.axes[0], "3 severe NPDR, n = 9").get_xdata()) == 0
    assert figure.axes[0].get_xlim() == (0, 2)


def test_ranges_of_the_thresholds():
    figure = scores.threshold_ranges_figure(*random_scores(), CUTS)
    fixed = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in figure.axes[1].patches[:5]]
    assert fixed[1] == pytest.approx((0.5, 1.5)) and fixed[3] == pytest.approx((2.5, 3.5))
    assert fixed[0][0] == figure.axes[0].get_xlim()[0] and fixed[4][1] == figure.axes[0].get_xlim()[1]
    texts = [text.get_text() for text in figure.axes[1].texts]
    assert texts == ["0", "1", "2", "3", "4", "not defined", "1", "2", "3"]


def test_signed_errors():
    axes = scores.signed_error_figure([0, 0, 3], [0.5, 1.5, 2.0]).axes[0]
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == [
        "0\nn = 2\n+1.00\n± 0.71",
        "1\nn = 0\n–",
        "2\nn = 0\n–",
        "3\nn = 1\n−1.00",
        "4\nn = 0\n–",
    ]


def test_reliability_leaves_empty_bins_out():
    figure = curves.reliability_figure({"bins": BINS, "ece": SURE})
    points = next(each for each in figure.axes[0].containers if each.get_label().startswith("model"))
    assert points.lines[0].get_xydata().tolist() == [[0.2, 0.9]]
    assert [bar.get_height() for bar in figure.axes[1].patches] == [8, 0]
    assert figure.axes[1].get_title(loc="left") == "n = 8"


def test_grades_differ_in_lightness_and_dashes():
    rgb = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in style.GRADE_COLORS])
    lightness = rgb @ (0.2126, 0.7152, 0.0722)
    assert np.diff(lightness).min() > 15
    assert len(set(map(str, style.GRADE_LINES))) == 5
