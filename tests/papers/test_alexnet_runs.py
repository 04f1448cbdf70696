"""P1's recipe is that of the flagfiles; its classifier and its stages are counted as by hand."""

import re
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from dr_keras.errors import InputError
from dr_keras.evaluation.crossfit import EvaluationSet
from dr_keras.models.alexnets import PROBABILITIES
from dr_keras.models.grader_model import build_grader
from dr_keras.papers.alexnet import classifier
from dr_keras.papers.alexnet.alexnet_runs import CLASSIFIER, REGRESSOR, Recipe

FLAGS = Path(__file__).resolve().parents[2] / "flags"
TRUNK = "savedmodels/alexnet_trunk/alexnet_trunk.weights.h5"


def flags_of(text):
    lines = (line.strip().removeprefix("--") for line in text.splitlines() if line.startswith("--"))
    return dict(line.split("=", 1) if "=" in line else (line, "") for line in lines)


@pytest.mark.parametrize(("name", "recipe"), [(REGRESSOR, "alexnet"), (CLASSIFIER, "alexnet_classifier")])
def test_the_recipe_is_the_flagfile(name, recipe):
    wanted = flags_of((FLAGS / "alexnet.cfg").read_text()) | flags_of((FLAGS / f"{recipe}.cfg").read_text())
    wanted.pop("flagfile", None)
    own = flags_of(
        Recipe(TRUNK).flagfile(name, {"data_dir": "eyes", "dataset": "auto", "normalization": None})
    )
    assert {flag: own.get(flag) for flag in wanted} == wanted
    assert own["data_dir"] == "eyes" and own["folds"] == "0" and "normalization" not in own
    assert re.fullmatch(r"[\d.,]+", own["thresholds"])


def test_folds_have_no_test_part():
    own = flags_of(Recipe("none", "runs/distilled", folds=5).flagfile(REGRESSOR, {}))
    assert (own["folds"], own["test_fraction"], own["validation_fraction"]) == ("5", "0", "0.1")
    assert own["init_from"] == "runs/distilled"


def test_stages_by_hand():
    matrix = np.diag([5, 4, 3, 2, 1])
    matrix[4, 0], matrix[0, 4], matrix[1, 2], matrix[3, 1] = 2, 3, 7, 6
    assert classifier.stage_errors(matrix) == {
        "n": 33, "wrong": 18, "skipped": 11, "proliferative": 3, "proliferative_called_normal": 2,
        "normal_called_proliferative": 3,
    }  # fmt: skip


def test_one_against_all():
    labels = np.repeat([0, 1, 2], 4)
    names = [f"{n}" for n in range(12)]
    scored = EvaluationSet(names, names, labels, labels.astype(float))
    probabilities = np.full((12, 5), 0.2)
    probabilities[:, 0] = np.where(labels == 0, 0.1, 0.9)  # always wrong
    rows = classifier.one_against_all(scored, probabilities)
    assert [row["n"] for row in rows] == [4, 4, 4, 0, 0]
    assert rows[0]["regressor"]["value"] == 1 and rows[0]["classifier"]["value"] == 0
    assert rows[0]["difference"] == {"value": 1, "low": 1, "high": 1}
    assert rows[1]["regressor"]["value"] == 1 and rows[1]["classifier"]["value"] == 0.5
    assert np.isnan(rows[4]["regressor"]["value"])


def grader(bias):
    """Probabilities that depend on the bias of each grade alone."""
    inputs = keras.Input((8, 8, 3))
    means = keras.layers.GlobalAveragePooling2D()(inputs)
    chances = keras.layers.Dense(5, "softmax", name=PROBABILITIES)
    network = keras.Model(inputs, keras.layers.Dense(1)(chances(means)))
    chances.set_weights([np.zeros((3, 5), "float32"), np.log(np.array(bias, "float32"))])
    return build_grader(network, 8, (0, 0, 0), (1, 1, 1))


def test_probabilities_are_those_of_each_photographs_networks():
    first, second = [0.1, 0.2, 0.4, 0.2, 0.1], [0.5, 0.2, 0.1, 0.1, 0.1]
    who = np.array([[True, False, True], [False, True, True]])
    evaluated = SimpleNamespace(
        model=SimpleNamespace(networks=[grader(first), grader(second)]),
        prepared=SimpleNamespace(read=lambda indices: np.zeros((len(indices), 8, 8, 3), np.uint8)),
        scores=SimpleNamespace(indices=np.array([7, 8, 9]), scored_by=who),
        path="run",
    )
    found = classifier.grade_probabilities(evaluated, batch_size=2)
    np.testing.assert_allclose(found, [first, second, np.mean([first, second], axis=0)], atol=1e-6)
    plain = keras.Model(
        inputs := keras.Input((8, 8, 3)), keras.layers.Dense(1)(keras.layers.Flatten()(inputs))
    )
    evaluated.model.networks = [build_grader(plain, 8, (0, 0, 0), (1, 1, 1))] * 2
    with pytest.raises(InputError, match="run: expected a run with --head=classification"):
        classifier.grade_probabilities(evaluated)
