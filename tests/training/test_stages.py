"""Stages and folds: who trains on what, and what the next stage starts from."""

import csv
import dataclasses
import functools
import shutil

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from prepared_folders import noise_images, write_prepared

from dr_keras.data.audit import audit_prepared
from dr_keras.data.inspection import inspect_prepared
from dr_keras.errors import InputError
from dr_keras.models.grader_model import build_grader, load_model, network_of
from dr_keras.models.nets import net5
from dr_keras.training import run_folder
from dr_keras.training.config import SplitPlan, TrainingConfig
from dr_keras.training.division import divide
from dr_keras.training.protocol import Hooks
from dr_keras.training.scoring import DatasetScorer
from dr_keras.training.stages import train_stages

CONFIG = TrainingConfig(image_size=128, width=0.05, epochs=1, batch_size=8, learning_rate=0.001)


audit = functools.cache(audit_prepared)


def at(prepared, plan):
    return divide(prepared, audit(prepared), plan)


@pytest.fixture(scope="module")
def by_size(tmp_path_factory, draw_photograph):
    """The same 40 photographs of 20 patients at 128 and 256 px; 1 is a copy of 38, 12 one of 27."""
    photographs = [draw_photograph(seed, 256, 256) for seed in range(40)]
    photographs[1], photographs[12] = photographs[38], photographs[27]
    grades = np.random.default_rng(0).permutation([0] * 16 + [1] * 8 + [2] * 8 + [3] * 4 + [4] * 4).tolist()
    folders = {}
    for size in (128, 256):
        images = np.stack(
            [cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in photographs]
        )
        patients = [index // 2 for index in range(40)]
        folders[size] = write_prepared(
            tmp_path_factory.mktemp("stages") / str(size), images, grades, patients
        )
    return folders


def sides(assigned, *indices):
    return {assigned[index] for index in indices}


# Dividing


@pytest.mark.parametrize("folds", [0, 4])
def test_patients_and_copies_stay_together(by_size, folds):
    trainings, notes = at(by_size[128], SplitPlan(folds, 0.2, seed=3))
    assert len(trainings) == max(folds, 1)
    if folds:
        assert notes == []
    else:
        few = trainings[0].count("validation")
        assert notes == [
            f"only {few} photographs validate, too few to tell models apart: --folds=5 grades all"
        ]
    for assigned in trainings:
        for patient in range(20):
            assert len(sides(assigned, 2 * patient, 2 * patient + 1)) == 1
        assert len(sides(assigned, 1, 38)) == 1 and len(sides(assigned, 12, 27)) == 1
        # and so the patients whom the copies link
        assert len(sides(assigned, 0, 1, 38, 39)) == 1 and len(sides(assigned, 12, 13, 26, 27)) == 1


def test_every_photograph_is_held_out_once(by_size):
    trainings, _ = at(by_size[128], SplitPlan(4, 0.2, seed=3))
    held_out = np.array(trainings) == "held_out"
    np.testing.assert_array_equal(held_out.sum(axis=0), np.ones(40))
    for assigned in trainings:
        counts = {split: assigned.count(split) for split in ("train", "validation", "held_out")}
        assert sum(counts.values()) == 40 and min(counts.values()) > 0
        assert 8 <= counts["held_out"] <= 12 and 4 <= counts["validation"] <= 8


def test_folds_are_the_same_at_every_size(by_size):
    for plan in (SplitPlan(4, 0.2, seed=3), SplitPlan(0, 0.1, seed=0)):
        assert at(by_size[128], plan) == at(by_size[256], plan)


def test_seed_changes_the_division(by_size):
    plan = SplitPlan(4, 0.2, seed=3)
    assert at(by_size[128], plan) == at(by_size[128], plan)
    assert at(by_size[128], plan) != at(by_size[128], dataclasses.replace(plan, seed=4))


def test_ungraded_and_test_photographs_train_nothing(tmp_path):
    images = noise_images(12, 32)
    grades = [0, 1, None, 2, 0, 1, 3, 4, 0, 2, None, 1]
    splits = ["", "train", "train", "", "test", "test", "", "", "", "", "test", ""]
    prepared = write_prepared(tmp_path / "p", images, grades, splits=splits)
    (assigned,), notes = at(prepared, SplitPlan(0, 0.2, 0))
    assert [assigned[index] for index in (2, 4, 5, 10)] == ["", "test", "test", ""]
    assert set(assigned[index] for index in (0, 1, 3, 6, 7, 8, 9, 11)) == {"train", "validation"}
    trainings, _ = at(prepared, SplitPlan(2, 0.2, 0))
    for assigned in trainings:
        assert sides(assigned, 2, 4, 5, 10) == {""}
        assert set(assigned) == {"", "train", "validation", "held_out"}


def test_nothing_to_train_on(tmp_path):
    images = noise_images(6, 32)
    ungraded = write_prepared(tmp_path / "a", images, [None] * 6)
    with pytest.raises(InputError, match="a: no photograph has a grade"):
        at(ungraded, SplitPlan())
    tests_only = write_prepared(tmp_path / "b", images, [0, 1, 2, 3, 4, 0], splits=["test"] * 6)
    with pytest.raises(InputError, match="b: no graded photograph for the train split"):
        at(tests_only, SplitPlan())
    with pytest.raises(InputError, match="3 folds need as many patients; the dataset has 0"):
        at(tests_only, SplitPlan(folds=3))
    splits = ["train", "train", "train", "train", "validation", "validation"]
    unvalidated = write_prepared(tmp_path / "c", images, [0, 1, 2, 3, None, None], splits=splits)
    with pytest.raises(InputError, match="c: no graded photograph for the validation split"):
        at(unvalidated, SplitPlan())


# Training a chain with folds


class Chain:
    """Two folds at 128 and at 256 px, with everything that the hooks were told."""

    def __init__(self, by_size, run_dir):
        self.by_size, self.run_dir = by_size, run_dir
        self.configs = [CONFIG, dataclasses.replace(CONFIG, image_size=256)]
        self.plan = SplitPlan(2, 0.2, seed=1)
        self.lines, self.reports, self.fits, self.starts = [], [], {}, {}

    def report(self, folder, records, labels, scores):
        self.reports.append((folder.relative_to(self.run_dir), [r.image for r in records], labels, scores))
        (folder / "metrics.json").write_text("{}")

    def callbacks(self, fit):
        name = str(fit.run_dir.relative_to(self.run_dir))
        self.fits[name], self.starts[name] = fit, network_of(fit.trainer.grader).get_weights()
        return []

    def train(self, configs=None, **changes):
        hooks = Hooks(self.report, self.callbacks, say=self.lines.append, **changes)
        open_prepared = lambda size: self.by_size[size]  # noqa: E731
        strategy = tf.distribute.get_strategy()
        return train_stages(configs or self.configs, open_prepared, self.run_dir, self.plan, strategy, hooks)


@pytest.fixture(scope="module")
def chain(by_size, tmp_path_factory):
    chain = Chain(by_size, tmp_path_factory.mktemp("chain") / "run")
    assert chain.train() == chain.run_dir / "256"
    return chain


LEAVES = ["128/fold_0", "128/fold_1", "256/fold_0", "256/fold_1"]


def test_each_leaf_has_its_files(chain):
    for leaf in LEAVES:
        names = {path.name for path in (chain.run_dir / leaf).iterdir()}
        assert names == {
            "model.keras",
            "best_loss.keras",
            "last.keras",
            "seen.npz",
            "split.csv",
            "history.csv",
            "metrics.json",
        }
    assert {path.name for path in chain.run_dir.iterdir()} == {"128", "256", "audit.json"}
    assert run_folder.find_model(chain.run_dir, fold=1) == chain.run_dir / "256" / "fold_1" / "model.keras"


def test_split_files_say_who_was_where(chain):
    trainings, _ = at(chain.by_size[128], chain.plan)
    for leaf in LEAVES:
        with open(chain.run_dir / leaf / "split.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assigned = trainings[int(leaf[-1])]
        assert [row["split"] for row in rows] == assigned
        assert [row["patient"] for row in rows] == [str(index // 2) for index in range(40)]
        fit = chain.fits[leaf]
        assert fit.training.tolist() == [i for i, split in enumerate(assigned) if split == "train"]
        assert fit.validation.tolist() == [i for i, split in enumerate(assigned) if split == "validation"]


def test_reports_are_of_what_was_held_out(chain):
    assert [str(folder) for folder, *_ in chain.reports] == ["128/fold_0", "128/fold_1", "128",
                                                             "256/fold_0", "256/fold_1", "256"]  # fmt: skip
    trainings, _ = at(chain.by_size[128], chain.plan)
    reports = {str(folder): rest for folder, *rest in chain.reports}
    for leaf in LEAVES:
        prepared = chain.by_size[int(leaf[:3])]
        held_out = [i for i, split in enumerate(trainings[int(leaf[-1])]) if split == "held_out"]
        images, labels, scores = reports[leaf]
        assert images == [f"{i:03d}.png" for i in held_out]
        np.testing.assert_array_equal(labels, prepared.grades[held_out])
        model = load_model(chain.run_dir / leaf / "model.keras")
        np.testing.assert_allclose(scores, np.asarray(model(prepared.read(held_out)))[:, 0], atol=1e-4)
    for stage in ("128", "256"):
        images, labels, scores = reports[stage]
        assert sorted(images) == [f"{i:03d}.png" for i in range(40)]
        np.testing.assert_array_equal(
            scores, np.concatenate([reports[f"{stage}/fold_{k}"][2] for k in (0, 1)])
        )
        np.testing.assert_array_equal(labels, [chain.by_size[128].grades[int(name[:3])] for name in images])


def test_each_fold_goes_on_from_its_own_network(chain):
    taken = [line for line in chain.lines if "layers taken over" in line]
    assert len(taken) == 2
    for fold, line in enumerate(taken):
        source = chain.run_dir / "128" / f"fold_{fold}" / "model.keras"
        assert line.startswith(f"16 layers taken over from {source}; initialised: conv13_kernel, ")
        before = network_of(load_model(source))
        network = network_of(chain.fits[f"256/fold_{fold}"].trainer.grader)
        start = dict(zip([weight.path for weight in network.weights], chain.starts[f"256/fold_{fold}"]))
        for name in ("conv2", "conv7", "conv11"):
            np.testing.assert_array_equal(
                start[f"{name}_kernel/kernel"], before.get_layer(f"{name}_kernel").kernel.numpy()
            )
            bias = before.get_layer(f"{name}_bias").bias.numpy()
            resized = keras.ops.image.resize(
                bias[None], start[f"{name}_bias/bias"].shape[:2], interpolation="bilinear"
            )
            np.testing.assert_array_equal(start[f"{name}_bias/bias"], np.asarray(resized)[0])
    assert not np.array_equal(chain.starts["256/fold_0"][0], chain.starts["256/fold_1"][0])


def test_a_finished_chain_is_left_alone(chain):
    stamps = {path: path.stat().st_mtime_ns for leaf in LEAVES for path in (chain.run_dir / leaf).iterdir()}
    reports, fits = len(chain.reports), dict(chain.fits)
    assert chain.train() == chain.run_dir / "256"
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert len(chain.reports) == reports and chain.fits == fits


def test_killed_between_the_folds_and_their_report(chain):
    """The pooled report is made up for from the finished folds, and what was half written goes."""
    pooled, reports = chain.reports[-1], len(chain.reports)
    (chain.run_dir / "256" / "metrics.json").unlink()
    (chain.run_dir / "256" / "fold_1" / ".part-last-abc.keras").write_bytes(b"half")
    chain.train()
    assert not list(chain.run_dir.rglob(".part-*"))
    assert len(chain.reports) == reports + 1
    again = chain.reports.pop()
    assert str(again[0]) == "256" and again[1] == pooled[1]
    np.testing.assert_array_equal(again[3], pooled[3])


# Starting from another run


def start_from(chain, init_from, run_dir, plan, report=None):
    lines = []
    hooks = Hooks(report or chain.report, say=lines.append)
    prepared = lambda size: chain.by_size[size]  # noqa: E731
    config = dataclasses.replace(CONFIG, image_size=256)
    train_stages([config], prepared, run_dir, plan, tf.distribute.get_strategy(), hooks, init_from)
    return lines


@pytest.mark.parametrize(
    "plan", [SplitPlan(2, 0.2, seed=2), SplitPlan(2, 0.4, seed=1)], ids=["seed", "fraction"]
)
def test_a_start_that_saw_the_held_out_photographs_is_refused(chain, tmp_path, plan):
    source = chain.run_dir / "128"
    with pytest.raises(
        InputError, match=rf"--init_from={source}: trained on \d+ photographs that are held out here"
    ):
        start_from(chain, source, tmp_path / "run", plan)
    assert not list((tmp_path / "run").rglob("*.keras"))


def test_a_start_that_saw_them_under_other_names_is_refused(chain, tmp_path):
    """Known by their pixels, at another size; what a start has learnt from counts as seen by what follows."""
    start, prints = tmp_path / "start", [one.fingerprint for one in inspect_prepared(chain.by_size[128])]
    start.mkdir()
    shutil.copy(run_folder.find_model(chain.run_dir / "128", 0), start / "model.keras")
    run_folder.write_seen(start, prints[:5])
    with pytest.raises(InputError, match="trained on 5 photographs that are held out here"):
        start_from(chain, start, tmp_path / "run", SplitPlan(2, 0.2, seed=1))
    run_folder.write_seen(start, [np.random.default_rng(0).normal(size=prints[0].shape)])
    plain = lambda folder, *judged: (folder / run_folder.METRICS).write_text("{}")  # noqa: E731
    start_from(chain, start, tmp_path / "run", SplitPlan(2, 0.2, seed=1), plain)
    for leaf in run_folder.fold_dirs(tmp_path / "run"):
        learnt = [
            split for split in run_folder.read_splits(leaf / "split.csv").values() if split in run_folder.SEEN
        ]
        assert len(run_folder.read_seen(leaf)) == len(learnt) + 1


def test_a_start_without_that_fold_is_refused(chain, tmp_path):
    with pytest.raises(
        InputError, match=f"--init_from={chain.run_dir / '128'}: trained on|holds 2 folds|no model.keras"
    ):
        start_from(chain, chain.run_dir / "128", tmp_path / "a", SplitPlan(3, 0.2, seed=1))
    with pytest.raises(InputError, match="holds 2 folds; name one of them"):
        start_from(chain, chain.run_dir / "128", tmp_path / "b", SplitPlan(0, 0.2, seed=1))
    with pytest.raises(InputError, match="no such model; expected a run folder or a .keras file"):
        start_from(chain, tmp_path / "none", tmp_path / "c", SplitPlan(2, 0.2, seed=1))


def test_one_training_without_folds(by_size, tmp_path):
    """Judged on its validation part; starts from a model file that says nothing of its photographs."""
    grader = build_grader(net5(128, width=0.05, seed=9), 128, (1, 2, 3), (4, 5, 6))
    grader.save(tmp_path / "other.keras")
    reports, lines = [], []

    def report(folder, records, labels, scores):
        reports.append((folder, [record.image for record in records], scores))
        (folder / "metrics.json").write_text("{}")

    hooks = Hooks(report, say=lines.append)
    plan, strategy = SplitPlan(0, 0.2, seed=0), tf.distribute.get_strategy()
    run_dir = tmp_path / "run"
    assert (
        train_stages([CONFIG], by_size.get, run_dir, plan, strategy, hooks, tmp_path / "other.keras")
        == run_dir
    )
    (assigned,), _ = at(by_size[128], plan)
    validation = [index for index, split in enumerate(assigned) if split == "validation"]
    ((folder, images, scores),) = reports
    assert folder == run_dir and images == [f"{index:03d}.png" for index in validation]
    expected = DatasetScorer(load_model(run_dir / "model.keras"), by_size[128])(np.array(validation))
    np.testing.assert_array_equal(scores, expected)
    assert f"17 layers taken over from {tmp_path / 'other.keras'}; initialised: none" in lines
    assert not (run_dir / "state.npz").exists()
