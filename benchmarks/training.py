"""Times training and preparation beside what they are compared with, and prints one table.

  pip install -e '.[cpu,keras-cv,benchmark]' && python benchmarks/training.py

Takes about 20 minutes on two cores; --quick only shows that everything runs. The contenders of a section
take turns, round after round; the table has the medians over the rounds, and the ratios within a round.
"""

import command

from dr_keras import cli_flags

SIZES = (128, 256, 512)


def main(argv):
    cli_flags.refuse_arguments(argv)
    cli_flags.require_tensorflow()
    command.measure_sections(MEASURE, NEEDS, "batch 32")


def measure_pipeline(setting):
    """The bare step against the step fed by pipeline and augmentation."""
    import contenders
    from timing import compare, timed

    for size in SIZES:
        prepared = contenders.prepared_photographs(size, setting.folder)
        training = contenders.Training(prepared, setting.precision)
        turns = {"bare step": timed(training.bare), "fed by the pipeline, augmented": timed(training.fed)}
        yield from compare(
            f"Net-5, {size} px: the real training", turns, setting.schedule, contenders.BATCH,
            "of the bare step", 0.85, warm_up=8,  # more than the pipeline holds ready
        )  # fmt: skip


def measure_torch(setting):
    """The bare step against the same network in PyTorch, eager and compiled."""
    import contenders
    from timing import compare, timed
    from torch_net5 import TorchStep

    from dr_keras.models.nets import WINDOWS

    for size in SIZES:
        prepared = contenders.prepared_photographs(size, setting.folder)
        training = contenders.Training(prepared, setting.precision)
        rows, parameters = contenders.network_rows(size), training.parameters
        theirs = {
            "PyTorch, eager": TorchStep(rows, WINDOWS[size], setting.precision, compiled=False),
            "PyTorch, torch.compile": TorchStep(rows, WINDOWS[size], setting.precision, compiled=True),
        }
        if any(step.parameters != parameters for step in theirs.values()):
            raise RuntimeError(
                f"PyTorch's network of {size} px isn't the same: expected {parameters} parameters"
            )
        yield from compare(
            f"Net-5, {size} px: bare step, {parameters:,} parameters",
            {**theirs, "this project": timed(training.bare)},
            setting.schedule, contenders.BATCH, "to PyTorch's best", 1.2,
        )  # fmt: skip
        for step in theirs.values():
            step.close()


def measure_head(setting):
    """Global average pooling against the dense head; 1.15 and 1.13 in the paper's table, on a P100."""
    import contenders
    from timing import compare, timed

    prepared = contenders.prepared_photographs(512, setting.folder)
    for architecture, paper in (("net5", "1.15"), ("net4", "1.13")):
        turns = {}
        for head, name in (("dense", "dense head"), ("gap", "global average pooling")):
            training = contenders.Training(prepared, setting.precision, architecture=architecture, head=head)
            turns[name] = timed(training.bare)
        yield from compare(
            f"{architecture}, 512 px: bare step by head", turns, setting.schedule, contenders.BATCH,
            f"to the dense head (paper: {paper})",
        )  # fmt: skip


def measure_augmentation(setting):
    """The project's augmentation against KerasCV's layers, alone and in the step."""
    import contenders
    from timing import compare, timed

    prepared = contenders.prepared_photographs(256, setting.folder)
    other = contenders.Training(prepared, setting.precision, augmentation="keras_cv")
    own = contenders.Training(prepared, setting.precision)
    for what, theirs, ours in (
        ("augmentation alone", other.augmentation, own.augmentation),
        ("step with augmentation", other.augmented, own.augmented),
    ):
        turns = {"keras-cv's layers": timed(theirs), "own layer": timed(ours)}
        yield from compare(f"Net-5, 256 px: {what}", turns, setting.schedule, contenders.BATCH, "to keras-cv")


def measure_preparation(setting):
    """Preparing a 12-megapixel JPEG at 512 px against Pillow's full decode; both on one thread."""
    import contenders
    from timing import compare, timed

    photograph, path = contenders.large_photograph(), setting.folder / "large.jpeg"
    for quality in (95, 75):
        photograph.save(path, quality=quality)
        turns = {
            "Pillow: full decode, crop, resize": timed(contenders.prepare_with_pillow(path, 512)),
            "own preparation": timed(contenders.prepare_with_project(path, 512)),
        }
        section = f"4288x2848 JPEG of quality {quality} ({path.stat().st_size / 1e6:.1f} MB) to 512 px"
        yield from compare(section, turns, setting.schedule, 1, "to Pillow", 8, unit="ms/image")


def measure_precision(setting):
    """The bare step in float32 against mixed_bfloat16."""
    import contenders
    from timing import compare, timed

    prepared = contenders.prepared_photographs(256, setting.folder)
    policies = ("float32", "mixed_bfloat16")
    turns = {policy: timed(contenders.Training(prepared, policy).bare) for policy in policies}
    yield from compare("Net-5, 256 px: precision", turns, setting.schedule, contenders.BATCH, "to float32")


MEASURE = {
    "pipeline": measure_pipeline,
    "torch": measure_torch,
    "head": measure_head,
    "augmentation": measure_augmentation,
    "preparation": measure_preparation,
    "precision": measure_precision,
}
NEEDS = {
    "torch": ("torch", "dr-keras[benchmark]"),
    "augmentation": ("keras_cv", "dr-keras[keras-cv]"),
}

command.define_flags(MEASURE)


if __name__ == "__main__":
    cli_flags.run(main)
