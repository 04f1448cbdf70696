import numpy as np
import pytest

from dr_keras.report.wording import interval_text, number, percent, share_text


@pytest.mark.parametrize(
    "value, words",
    [(0.914, "0.91"), (-1.5, "−1.50"), (None, "–"), (np.nan, "–"), (3, "3.00")],
)
def test_numbers(value, words):
    assert number(value) == words


def test_signs_and_digits():
    assert number(0.5, 1, sign=True) == "+0.5"
    assert number(-0.5, 1, sign=True) == "−0.5"


def test_shares_and_intervals():
    assert percent(0.914) == "91 %"
    assert percent(np.nan) == percent(None) == "–"
    interval = {"value": 0.914, "low": 0.88, "high": 0.9349}
    assert interval_text(interval) == "0.91 (0.88 to 0.93)"
    assert interval_text(interval, 3, sign=True) == "+0.914 (+0.880 to +0.935)"
    assert share_text(interval) == "91 % (88 to 93)"
    undefined = {"value": None, "low": None, "high": None}
    assert interval_text(undefined) == share_text(undefined) == "–"
    assert interval_text({"value": 1.0, "low": np.nan, "high": np.nan}) == "1.00"
