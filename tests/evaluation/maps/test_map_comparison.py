import numpy as np
import pytest

from dr_keras.evaluation.maps.localisation import MEASURES
from dr_keras.evaluation.maps.method_comparison import beats_baselines, compare_methods, table


def rows(areas):
    return [dict.fromkeys(MEASURES, 0.5) | {"auprc": area} for area in areas]


@pytest.fixture(scope="module")
def result():
    """Photographs differ by far more than maps do: only the difference within a photograph tells."""
    base = np.linspace(0.05, 0.85, 9)
    return compare_methods({
        "ram/net": {"any_lesion": rows(base + np.tile([0.01, 0.02, 0.03], 3)), "dots": rows(base[:3])},
        "random": {"any_lesion": rows(base), "dots": rows(base[:3])},
        "randomised/net": {"any_lesion": rows(base - 0.1), "dots": rows(base[[0, 2, 1]])},
    })  # fmt: skip


def test_differences_are_taken_within_photographs(result):
    row = result["ram/net"]["any_lesion"]
    assert row["n"] == 9 and row["auprc"]["low"] < result["random"]["any_lesion"]["auprc"]["high"]
    gain = row["above"]["random"]
    assert gain["value"] == pytest.approx(0.02) and 0.01 < gain["low"] < 0.02 < gain["high"] < 0.03
    assert row["above"]["randomised/net"]["value"] == pytest.approx(0.12)
    assert "above" not in result["random"]["any_lesion"]


def test_a_method_beats_baselines_only_by_the_whole_interval(result):
    assert beats_baselines(result["ram/net"]["any_lesion"])
    assert not beats_baselines(result["ram/net"]["dots"])  # no better than noise
    lines = table(result)
    assert "ram/net beats every baseline on any lesion; not on dots" in lines
    (line,) = [line for line in lines if line.startswith("  random ")]
    assert "+0.020 (+0.01" in line and "+0.000 (+0.000 to +0.000)" in line
