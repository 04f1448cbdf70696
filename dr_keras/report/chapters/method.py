"""How a report was made: what was chosen and where, other models, software."""

from dr_keras.report import html_page
from dr_keras.report.wording import interval_text, number

COMPARED = {
    "quadratic_weighted_kappa": "kappa",
    "accuracy": "exactly right (share)",
    "referable_auc": "referable AUC",
}


def chosen_on(metrics):
    """On which photographs cuts, thresholds and calibration were chosen, in words."""
    chosen, n = metrics["chosen_on"], metrics["n"]
    parts = f"{chosen['num_parts']} parts, every patient in one"
    if chosen["cross_fitted"] == n == chosen["n"]:
        return (
            f"Cuts, thresholds and calibration were chosen on these {n} photographs in {parts}: each is "
            "judged by the choice made on the others."
        )
    sentence = (
        f"Cuts, thresholds and calibration were chosen on {chosen['n']} photographs that the model’s own run "
        "kept apart from training, and then frozen."
    )
    if chosen["cross_fitted"]:
        sentence += (
            f" {chosen['cross_fitted']} of the {n} photographs here are among them; each is judged by the "
            "choice made without its own part."
        )
    return sentence


def comparison(metrics):
    """Table of the models compared, and the differences."""
    rows = []
    for other in metrics["compared_with"]:
        for key, name in COMPARED.items():
            figures = other[key]
            rows.append(
                (other["model"], name, number(figures["this"], 3), number(figures["other"], 3),
                 interval_text(figures["difference"], 3, sign=True), other["n"])
            )  # fmt: skip
    return html_page.Section(
        "comparison",
        "Compared with other models",
        (
            html_page.table(
                ("Other model", "Figure", "This model", "Other", "This − other (95 % interval)", "n"),
                rows,
                "On the photographs that both graded, each with its own thresholds. The difference’s "
                "interval redraws the same patients for both; if it holds 0, the data can’t tell the two "
                "apart.",
            ),
        ),
    )


def about(metrics, facts, versions):
    """How the report was made.

    Args:
        facts: dict of what is said of model and data.
        versions: dict of software to its version.
    """
    rows = [
        *facts.items(),
        ("Thresholds", ", ".join(f"{cut:g}" for cut in metrics["thresholds"])),
        ("Choices", chosen_on(metrics)),
        (
            "Intervals",
            "95 %; bootstrap over patients (both eyes of a patient stay together); for shares, Wilson's "
            "where each patient has one photograph",
        ),
        ("Software", ", ".join(f"{name} {version}" for name, version in versions.items())),
    ]
    return html_page.Section(
        "about",
        "How this report was made",
        (
            html_page.table(("What", "Which"), rows, "Model, photographs and software.", words=True),
            "Beside this page lie metrics.json with all figures, predictions.csv with the score of each "
            "photograph, and the figures as PNG files.",
        ),
    )
