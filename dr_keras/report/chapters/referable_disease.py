"""How well a model finds eyes to refer: operating points, calibration, what is left to a doctor."""

from dr_keras.grades import REFERABLE_GRADE
from dr_keras.report import html_page
from dr_keras.report.chapters.method import chosen_on
from dr_keras.report.figures.curves import OPERATING_POINTS, point_name
from dr_keras.report.wording import interval_text, number, percent, share_text


def referable(metrics, pictures):
    """ROC and precision-recall curve for referable disease, with the operating points."""
    found, n = metrics["referable"], metrics["n"]
    points = found["operating_points"]
    rows = [
        (point_name(key, points[key]["target"]), number(points[key]["cut"]), *[share_text(points[key][figure])
         for figure in ("sensitivity", "specificity", "ppv", "npv")],
         f"{points[key]['false_negatives']} / {points[key]['false_positives']}")
        for key in OPERATING_POINTS
    ]  # fmt: skip
    targets = " and ".join(point_name(key, points[key]["target"]) for key in OPERATING_POINTS)
    return html_page.Section(
        "referable",
        "Finding eyes to refer",
        (
            f"{found['n']} of {n} photographs ({percent(found['prevalence'])}) are referable "
            f"(grade {REFERABLE_GRADE} or higher). Two cuts of the score are offered, that aim at {targets}. "
            f"{chosen_on(metrics)}",
            html_page.side_by_side(
                html_page.figure(
                    pictures["referable_roc"],
                    f"ROC curve for referable disease, area {interval_text(found['roc_auc'])}",
                    "The nearer the curve comes to the upper left corner, the more referable eyes are found "
                    "at few false alarms; the marks are the two cuts.",
                ),
                html_page.figure(
                    pictures["referable_precision_recall"],
                    f"Precision-recall curve, average precision {interval_text(found['average_precision'])}",
                    "Height is the share of referred eyes that are truly referable; it depends on how common "
                    "the disease is among the photographs.",
                ),
            ),
            html_page.table(
                (
                    "Operating point",
                    "Cut",
                    "Sensitivity",
                    "Specificity",
                    "PPV",
                    "NPV",
                    "Missed / false alarms",
                ),
                rows,
                "With 95 % intervals over patients. PPV, NPV: how often a positive, a negative answer "
                "is right.",
            ),
        ),
    )


def calibration(metrics, pictures):
    """Reliability of the referable probability."""
    fitted = metrics["calibration"]
    return html_page.Section(
        "calibration",
        "Can the probability be trusted?",
        (
            "The score becomes a probability that the eye is referable by a logistic curve, "
            f"1 / (1 + exp(−({number(fitted['slope'])} × score {_signed(fitted['intercept'])}))), "
            "fitted like the cuts for referral, above.",
            html_page.figure(
                pictures["reliability"],
                f"Reliability diagram; expected calibration error {interval_text(fitted['ece'], 3)}",
                "Of eyes given 70 %, seven in ten should be referable: then the points lie on the line. ECE "
                "is their mean distance from it, weighted by the number of photographs (bars).",
            ),
            *_own_probabilities(metrics.get("own_probabilities")),
        ),
    )


def _own_probabilities(found):
    """How the probabilities that the model carries did here, in words; nothing for one that has none."""
    if found is None:
        return ()
    return (
        "The probabilities that the model itself gives, which were fitted before: expected calibration error "
        f"{interval_text(found['referable_ece'], 3)}; on average {percent(found['mean_probability'])} "
        f"referable, where {percent(found['prevalence'])} are. The true grade lies in the range that the "
        f"model gives for {interval_text(found['range_share'], 2)} of the photographs (0.8 or more is "
        f"meant); the range has {number(found['range_grades'], 1)} grades on average.",
    )


def _signed(value):
    """A term of a sum, such as "− 3.08"."""
    term = number(value, sign=True)
    return f"{term[0]} {term[1:]}" if len(term) > 1 else term


def referral(pictures):
    """Kappa against the share of photographs kept."""
    return html_page.Section(
        "referral",
        "If doubtful photographs go to a doctor",
        (
            html_page.figure(
                pictures["referral"],
                "Quadratic weighted kappa against the share of photographs that the model grades",
                "From left to right, more of the photographs whose score is close to a threshold are left "
                "to a doctor; a rising line says that the model’s doubt is where its errors are.",
            ),
        ),
    )
