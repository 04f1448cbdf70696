"""The history of a training: one row per epoch."""

import csv
import io
import math

from dr_keras import files


def is_best(row, history, key, sign):
    """Whether a row is better than all before it; the first counts, and NaN never beats a number."""
    value = sign * row[key]
    return not history or value > max(
        (sign * r[key] for r in history if not math.isnan(r[key])), default=-math.inf
    )


def write_history(path, history):
    """Writes the rows of a history as CSV, atomically."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]))
    writer.writeheader()
    writer.writerows(history)
    files.write_text(path, text.getvalue())
