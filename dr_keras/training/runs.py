"""A whole training as `scripts/train.py` runs it: on the chosen devices, into a run folder, resumable."""

import contextlib
import dataclasses

from dr_keras.training import build, run_folder, stages
from dr_keras.training.config import HostConfig, SplitPlan, check_together, flag_options
from dr_keras.training.hosts import devices, workers
from dr_keras.training.protocol import Hooks


def train(
    configs, open_prepared, run_dir, plan=SplitPlan(), hosts=HostConfig(), hooks=Hooks(), init_from=None,
    flagfile=None, masked=(),
):  # fmt: skip
    """Trains a network in one stage or several, with or without folds; goes on where it was stopped.

    Args:
        configs: list of `TrainingConfig`, one for each stage; see `config.stage_configs`.
        open_prepared: called with an image size; returns the `PreparedDataset` of that size.
        run_dir: the run folder, made if it isn't there. It belongs to these settings from then on.
        plan: `SplitPlan`.
        hosts: `HostConfig`; the precision that it chooses takes the place of the configurations' own.
        hooks: `Hooks`. Without a `report`, no `metrics.json` is written, by which a finished run is known.
        init_from: run folder or `.keras` file whose fitting layers the first stage takes over, or None.
        masked: sequence of `MaskedPhotograph`, which `--architecture=lesion_net` learns from.
        flagfile: text for `run.cfg`, one flag a line. Default: the flags of configs, plan and hosts.

    Returns:
        The folder of the last stage.

    Raises:
        InputError: if the settings don't suit one another, the data, the devices or the run folder.
        Interrupted: if the hooks asked to stop; the same call goes on from there.
        WorkerLost: if another process of a multi-worker training is gone.
    """
    check_together(configs, plan, hosts)
    chief = hosts.is_chief
    for config in configs:
        if config.trunk_weights != "none":
            build.find_trunk(config.architecture, config.trunk_weights)
    flagfile = flagfile or flag_lines(configs, plan, hosts)
    if chief:
        run_folder.claim_run_dir(run_dir, flagfile)
    devices.set_numerics(hosts.deterministic)
    strategy = devices.choose_strategy(hosts.strategy)
    for config in configs:
        devices.check_batch_size(config.batch_size, strategy)
    precision = devices.choose_precision(hosts.precision)
    configs = [dataclasses.replace(config, precision=precision) for config in configs]
    if chief:
        hooks.say(f"{run_dir}: precision {precision}, {strategy.num_replicas_in_sync} device(s)")
    holding = run_folder.held(run_dir) if chief else contextlib.nullcontext()
    with holding, workers.losses_named(strategy):
        workers.check_alike(strategy, "flags or precision", flagfile + str(configs))
        return stages.train_stages(configs, open_prepared, run_dir, plan, strategy, hooks, init_from, masked)


def flag_lines(configs, plan, hosts):
    """Text of the flags of `scripts/train.py` that stand for such a training, one a line."""
    lines, owners = {"image_sizes": [config.image_size for config in configs]}, (configs[0], plan, hosts)
    for cls, name, _, option in flag_options():
        value = getattr(next(owner for owner in owners if isinstance(owner, cls)), name)
        lines[name] = [getattr(config, name) for config in configs] if option.per_stage else value
    text = []
    for name, value in sorted(lines.items()):
        if isinstance(value, (list, tuple)):
            value = ",".join(map(str, value))
        if value is not None:
            text.append(f"--{name}={str(value).lower() if isinstance(value, bool) else value}")
    return "# python scripts/train.py --flagfile=THIS_FILE\n" + "\n".join([*text, ""])
