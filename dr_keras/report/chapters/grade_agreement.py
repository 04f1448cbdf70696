"""How well a model grades: the figures most readers want, confusion, scores, thresholds."""

from dr_keras.grades import REFERABLE_GRADE
from dr_keras.report import html_page
from dr_keras.report.figures.curves import point_name
from dr_keras.report.wording import UNDEFINED, interval_text, number, percent, share_text

SCHEMES = {"fixed": "fixed", "range_separation": "range separation", "kappa_optimal": "best kappa"}


def summary(metrics):
    """The figures that most readers want, and what they mean."""
    kappa, accuracy = metrics["quadratic_weighted_kappa"], metrics["accuracy"]
    found = metrics["referable"]["operating_points"]["high_sensitivity"]
    rows = [
        ("Agreement (quadratic weighted kappa)", number(kappa["value"]), _interval(kappa)),
        ("Ranking of referable eyes (AUC)", number(metrics["referable_auc"]["value"]),
         _interval(metrics["referable_auc"])),
        ("Exactly right grade", percent(accuracy["value"]), _interval(accuracy, percent)),
        (f"Referable eyes found (cut for {point_name('high_sensitivity', found['target'])})",
         percent(found["sensitivity"]["value"]),
         f"of the others, {percent(found['specificity']['value'])} are spared a referral"),
    ]  # fmt: skip
    blocks = [
        html_page.facts(rows),
        "Kappa is 1 where every grade is the expected one and 0 where agreement is no better than by "
        "chance; a difference of two grades counts four times one of a single grade. Referable means grade "
        f"{REFERABLE_GRADE} or higher on the international scale (ICDR).",
        "Brackets and “to” give 95 % intervals: had other patients been photographed, the figure would most "
        "likely lie in there.",
        *_tendency(metrics["grades"]),
        *[f"Note: {note}." for note in metrics["notes"]],
    ]
    if metrics["num_unscored"]:
        blocks.append(f"{metrics['num_unscored']} photographs have no score, so most figures are undefined.")
    return html_page.Section("summary", "In short", tuple(blocks))


def _interval(interval, wording=number):
    low, high = wording(interval["low"]), wording(interval["high"])
    return "no interval" if low == UNDEFINED else f"95 % interval: {low} to {high}"


def _tendency(grades):
    """A sentence on grades whose scores are surely off by a quarter of a grade or more."""
    words = {True: "too low", False: "too high"}
    off = [
        f"{each['name']} by {number(abs(error['value']), 1)} {words[error['value'] < 0]}"
        for each in grades
        if (error := each["signed_error"])["value"] is not None
        and (error["high"] < -0.25 or error["low"] > 0.25)
    ]
    return [f"On average the scores lie off the true grade: {'; '.join(off)}."] if off else []


def confusion(metrics, pictures):
    """The confusion matrix, precision and recall."""
    rows = [
        (f"{each['grade']} {each['name']}", each["n"], each["num_predicted"], share_text(each["recall"]),
         share_text(each["precision"]))
        for each in metrics["grades"]
    ]  # fmt: skip
    cuts = ", ".join(f"{cut:g}" for cut in metrics["thresholds"])
    return html_page.Section(
        "confusion",
        "Which grades are confused?",
        (
            html_page.figure(
                pictures["confusion_matrix"],
                f"Confusion matrix of {metrics['n']} photographs, true grades against predicted ones",
                "Each row holds the photographs of one true grade; the diagonal is right, left of it the "
                f"model graded too low, right of it too high. Scores are cut at {cuts}.",
            ),
            html_page.table(
                ("Grade", "n", "Given", "Recognised (recall)", "Right when given (precision)"),
                rows,
                "By grade, with 95 % intervals over patients. n: photographs of the grade; given: "
                "photographs that the model gave it to.",
            ),
        ),
    )


def densities(metrics, pictures):
    """Density curves (P1 figure 6b), beside a classifier's confusion matrix where there is one."""
    curves = html_page.figure(
        pictures["score_densities"],
        "Density curve of the scores of each true grade",
        "Where a curve is high, many photographs of that grade have this score; the less two curves "
        "overlap, the better the model tells the grades apart.",
    )
    title = "Scores of each grade"
    if "classifier_confusion_matrix" not in pictures:
        return html_page.Section("densities", title, (curves,))
    classifier = metrics["classifier"]
    beside = html_page.figure(
        pictures["classifier_confusion_matrix"],
        f"Confusion matrix of the classifier on {classifier['n']} photographs",
        "The classifier it is compared with: cells far from the diagonal are grades skipped. Kappa "
        f"{interval_text(classifier['quadratic_weighted_kappa'])}, n = {classifier['n']}.",
    )
    return html_page.Section("densities", title, (html_page.side_by_side(beside, curves),))


def signed_error(pictures):
    """Under- and over-grading."""
    return html_page.Section(
        "signed-error",
        "Too high or too low?",
        (
            html_page.figure(
                pictures["signed_error"],
                "Score minus true grade for each true grade",
                "Dots are photographs, boxes hold the middle half, the diamond is the mean; below zero the "
                "model under-grades.",
            ),
        ),
    )


def one_against_all(metrics, pictures):
    """ROC curves of each grade against the others (P1 figure 8)."""
    return html_page.Section(
        "one-against-all",
        "Each grade against all others",
        (
            html_page.figure(
                pictures["grade_roc"],
                "ROC curve of each grade against all others",
                "For each grade, photographs are ranked by how near their score comes to it; a curve along "
                "the grey line would be guessing. Grades in the middle are the hardest.",
            ),
        ),
    )


def thresholds(metrics, pictures):
    """The three ways of cutting scores into grades (P1 figure 7)."""
    schemes = metrics["threshold_schemes"]
    rows = [
        (name, *[number(cut) for cut in schemes[key]["cuts"]],
         interval_text(schemes[key]["quadratic_weighted_kappa"]), share_text(schemes[key]["accuracy"]))
        for key, name in SCHEMES.items()
    ]  # fmt: skip
    return html_page.Section(
        "thresholds",
        "Where does one grade end and the next begin?",
        (
            "The model gives a score; thresholds make a grade of it. Fixed: the thresholds of this report. "
            "Range separation: from the peak of each grade’s curve its range grows both ways, in proportion "
            "to the standard deviation, until it meets the next. Best kappa: the thresholds with the "
            "highest kappa. The latter two were chosen like the cuts for referral, above.",
            html_page.side_by_side(
                html_page.figure(
                    pictures["threshold_ranges"],
                    "Density curves of the scores, and the range of each grade by three ways of cutting",
                    "The bars below the curves show which scores become which grade.",
                ),
                html_page.figure(
                    pictures["threshold_kappas"],
                    "Quadratic weighted kappa by each way of cutting, with 95 % intervals",
                    "Farther right is better; where the bars overlap widely, the choice makes little "
                    "difference.",
                ),
            ),
            html_page.table(
                ("Thresholds", "0 | 1", "1 | 2", "2 | 3", "3 | 4", "Kappa", "Exactly right"),
                rows,
                "Score at which each pair of grades parts, and the agreement that results.",
            ),
        ),
    )
