"""One of two processes that train together, as `test_multi_worker.py` runs it: prints what it found as JSON.

`TF_CONFIG` says which; the training is that of `train`, which the test runs in its own process too.
"""

import json
import sys
from pathlib import Path

import numpy as np

from dr_keras import files
from dr_keras.data.shards import PreparedDataset
from dr_keras.errors import InputError
from dr_keras.training import stages
from dr_keras.training.config import SplitPlan, TrainingConfig
from dr_keras.training.hosts import devices, workers
from dr_keras.training.protocol import Hooks, Interrupted

# Two epochs of three steps, whose gradients are clipped; seven photographs to validate, an odd number, with
# cuts between what they score after the first.
CONFIG = TrainingConfig(
    image_size=128, width=0.1, epochs=2, batch_size=8, learning_rate=0.003, clip_norm=0.5, seed=2,
    thresholds=(-0.0943, -0.0926, -0.0898, -0.0868),
)  # fmt: skip
SPLITS = ["train"] * 25 + ["validation"] * 7


def train(prepared, run_dir, strategy, **hooks):
    """Runs or resumes the training."""

    def report(folder, records, labels, scores):
        files.write_json(
            folder / "metrics.json", {"names": [r.image for r in records], "scores": scores.tolist()}
        )

    hooks = Hooks(report=report, say=lambda line: None, **hooks)
    stages.train_stages([CONFIG], lambda size: prepared, run_dir, SplitPlan(), strategy, hooks)


def main(folder):
    strategy = devices.choose_strategy("multi_worker")
    index, number = workers.place(strategy)
    prepared = PreparedDataset(folder / "prepared")
    result = {"place": [index, number], "replicas": strategy.num_replicas_in_sync}
    result["total"] = workers.total(strategy, np.array([1.5, index])).tolist()
    result["from chief"] = workers.from_chief(strategy, b"odd length" if index == 0 else b"?").decode()
    for name, check in {
        "odd batch": lambda: devices.check_batch_size(7, strategy),
        "other flags": lambda: workers.check_alike(strategy, "flags", f"--seed={index}"),
    }.items():
        try:
            check()
        except InputError as error:
            result[name] = str(error)
    for name, seconds in {"stops at once": 0.0, "stops with the epoch": 1e9}.items():
        asked = iter(range(1, 99))
        stop = workers.SharedStop(strategy, lambda: next(asked) == 5 and index == 1, seconds)
        result[name] = next(step for step in range(1, 99) if stop(last_step=step == 20))
    run_dir = folder / f"run-{index}"  # of the second nothing may be written
    steps = iter(range(1, 99))
    try:  # only the second process is asked to stop, in the second epoch
        train(
            prepared, run_dir, strategy, should_stop=lambda: next(steps) == 4 and index == 1, stop_seconds=0.0
        )
    except Interrupted:
        result["stopped after"] = next(steps) - 1
    if index == 0:
        result["state"] = json.loads(str(np.load(run_dir / "state.npz")["progress"]))["step"]
    train(prepared, run_dir, strategy)
    print(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
