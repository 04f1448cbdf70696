import numpy as np
import pytest

from dr_keras.data.lesion_masks import masked_synthetic_photographs
from dr_keras.evaluation.maps.faithfulness import MEASURES
from dr_keras.evaluation.maps.faithfulness_study import evaluate_faithfulness, table
from dr_keras.evaluation.maps.map_evaluation import find_unseen_networks
from dr_keras.inference.grader import load_grader
from dr_keras.models.grader_model import build_grader
from dr_keras.models.nets import ram_net5


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network that sums up brightness, all but linear: its map is what it uses."""
    network = ram_net5(128, width=0.05)
    for layer in network.layers:
        if layer.name.endswith("_kernel"):
            layer.kernel.assign(np.full(layer.kernel.shape, 1 / np.prod(layer.kernel.shape[:3])))
    network.get_layer("score").kernel.assign(np.ones(network.get_layer("score").kernel.shape))
    path = tmp_path_factory.mktemp("model") / "bright.keras"
    build_grader(network, 128, (0, 0, 0), (50, 50, 50)).save(path)
    return load_grader(path)


def test_map_of_what_is_used_beats_its_cells_in_random_order(model):
    unseen, _ = find_unseen_networks([model], masked_synthetic_photographs(5, seed=1), [])
    result = evaluate_faithfulness([model], unseen, count=2)
    assert set(result) == {"ram/ram_net5_128"}
    row = result["ram/ram_net5_128"]
    assert row["n"] == 2
    for measure in MEASURES:
        assert row["above_random"][measure]["value"] > 0, measure
    assert len(row["curves"]["deletion"]) == 11 and "above random" in table(result)[0]
