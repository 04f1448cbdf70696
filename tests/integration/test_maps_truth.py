"""A network is trained on drawn photographs; its maps must lie on the lesions of others."""

import numpy as np
import pytest
import tensorflow as tf

from dr_keras.data.cache import open_prepared
from dr_keras.data.lesion_masks import ANY_LESION, masked_synthetic_photographs
from dr_keras.data.pipeline import training_batches
from dr_keras.evaluation.maps.evaluation import evaluate_maps, find_judges
from dr_keras.inference.grader import load_grader
from dr_keras.training.build import build_trainer
from dr_keras.training.config import TrainingConfig

EPOCHS = 14
CONFIG = TrainingConfig(
    architecture="ram_net5", image_size=128, width=0.25, epochs=EPOCHS, batch_size=16, optimizer="adam",
    learning_rate=0.001,
)  # fmt: skip


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("truth")
    prepared = open_prepared(None, "synthetic", 128, synthetic_images=240, cache_dir=folder)
    everything = np.arange(len(prepared))
    trainer = build_trainer(CONFIG, prepared, everything, tf.distribute.get_strategy())
    batches = iter(training_batches(prepared, everything, CONFIG.batch_size, EPOCHS, seed=0))
    for _ in trainer.run_steps(batches, EPOCHS * 240 // CONFIG.batch_size):
        pass
    trainer.grader.save(folder / "model.keras")
    models = [load_grader(folder / "model.keras")]
    judges, _ = find_judges(models, masked_synthetic_photographs(30, seed=1), [])
    return evaluate_maps(models, judges, max_side=256)


def test_maps_lie_on_lesions_as_no_baseline_does(result):
    areas = {method: rows[ANY_LESION]["auprc"] for method, rows in result.items()}
    own = areas.pop("ram/ram_net5_128")
    for method, other in areas.items():
        assert own["low"] > other["high"], method
    assert own["value"] > 2 * result["random"][ANY_LESION]["prevalence"]["value"]
