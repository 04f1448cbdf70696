"""A whole training from Python, as the script runs it."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from prepared_folders import noise_images, write_prepared

import dr_keras.training
from dr_keras.errors import InputError
from dr_keras.models.grader_model import load_model
from dr_keras.training import Hooks, HostConfig, Interrupted, SplitPlan, TrainingConfig, stage_configs, train
from dr_keras.training.runs import flag_lines

CONFIG = TrainingConfig(
    image_size=128, width=0.05, epochs=1, batch_size=8, freeze_through="gap", optimizer="ridge"
)
HOSTS = HostConfig(strategy="default", precision="float32")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("runs"), noise_images(30, 128), (list(range(5)) * 6))


def test_three_lines_of_python_train(prepared, tmp_path):
    lines = []
    plan = SplitPlan(validation_fraction=0.2)
    folder = train([CONFIG], lambda size: prepared, tmp_path / "run", plan, HOSTS, Hooks(say=lines.append))
    assert folder == tmp_path / "run"
    assert lines[0] == f"{folder}: precision float32, 1 device(s)"
    scores = np.asarray(load_model(folder / "model.keras")(prepared.read([0, 1])))
    assert scores.shape == (2, 1) and np.isfinite(scores).all()
    text = (folder / "run.cfg").read_text()
    assert text == flag_lines([CONFIG], plan, HOSTS)
    other = dataclasses.replace(CONFIG, seed=1)
    with pytest.raises(InputError, match="belongs to other flags .--seed: 0 there, 1 now"):
        train([other], lambda size: prepared, folder, plan, HOSTS, Hooks(say=lines.append))


def test_nothing_is_written_for_settings_that_do_not_fit(prepared, tmp_path):
    with pytest.raises(InputError, match="--strategy=multi_worker isn't for --freeze_through"):
        train([CONFIG], lambda size: prepared, tmp_path / "run", hosts=HostConfig(strategy="multi_worker"))
    weights = str(tmp_path / "no")
    missing = TrainingConfig(architecture="efficientnet_lite0", image_size=256, trunk_weights=weights)
    with pytest.raises(InputError, match="no: no such file"):
        train([missing], lambda size: prepared, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_stop_is_told(prepared, tmp_path):
    config = dataclasses.replace(CONFIG, optimizer="sgd", freeze_through=None)
    hooks = Hooks(say=lambda line: None, should_stop=lambda: True)
    with pytest.raises(Interrupted):
        train([config], lambda size: prepared, tmp_path / "run", SplitPlan(), HOSTS, hooks)
    assert (tmp_path / "run" / "state.npz").exists()


RERUN = """
import sys
from dr_keras import cli_flags
cli_flags.define_training_flags()
cli_flags.flags.FLAGS(["train.py", "--flagfile=" + sys.argv[1]])
print(cli_flags.training_configs())
"""


def test_the_flags_of_a_configuration_make_it_again(tmp_path):
    configs = stage_configs(
        (128, 256), epochs=(3, 4), resample=False, width=0.5, thresholds=(0.1, 1.0, 2.0, 3.0), seed=3,
        learning_rate_drops=(2,), final_weights=(1.0, 2.0, 3.0, 4.0, 5.0),
    )  # fmt: skip
    plan = SplitPlan(folds=3, validation_fraction=0.25, seed=3, caps=(1, 2, 3, 4, 5))
    hosts = HostConfig(deterministic=True, precision="float32")
    (tmp_path / "run.cfg").write_text(flag_lines(configs, plan, hosts))
    command = [sys.executable, "-c", RERUN, str(tmp_path / "run.cfg")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str((configs, plan, hosts))


def test_names_are_listed():
    assert set(dr_keras.training.__all__) <= set(dir(dr_keras.training))
    for name in dr_keras.training.__all__:
        assert getattr(dr_keras.training, name).__name__ == name
    with pytest.raises(AttributeError, match="No dr_keras.training attribute trian"):
        dr_keras.training.trian
