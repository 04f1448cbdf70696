"""Times maps beside plain passes and pytorch-grad-cam, measures their memory, and prints one table.

  pip install -e '.[cpu,benchmark]' && python benchmarks/explain.py

Takes about 30 minutes on two cores, 12 with --rounds=5 --seconds=1; --quick only shows that everything runs.
The contenders of a section take turns, round after round; the table has the medians over the rounds, and the
ratios within a round.
"""

import importlib.util

import command

from dr_keras import cli_flags

SIZES = (128, 256)
NETWORKS = (  # architecture, image size, images in a batch; the last was shipped as `dr_grader`
    *(("net5", size, 32) for size in SIZES),
    *(("ram_net5", size, 8) for size in SIZES),
    ("efficientnet_lite0", 640, 1),
)
GRAD_CAM_BATCHES = (1, 32)
WINDOWS = (("conv10", 1, 1), ("conv14", 1, 1))  # of Net-5 at 256 px: layer, window, stride
CALLS = 1000


def main(argv):
    cli_flags.refuse_arguments(argv)
    cli_flags.require_tensorflow()
    command.measure_sections(MEASURE, NEEDS, "maps of random images in memory")


def measure_forward(setting):
    """RAM against the compiled forward pass: at most 1.15 times the cost."""
    from explain_contenders import Explained
    from timing import compare, timed

    for precision in dict.fromkeys(("float32", setting.precision)):
        for architecture, size, batch in NETWORKS:
            explained = Explained(architecture, size, precision, batch)
            turns = {"forward pass": timed(explained.plain), "RAM": timed(explained.ram)}
            yield from compare(
                f"{architecture}, {size} px, batch {batch}, {precision}: maps", turns,
                setting.schedule, batch, "of the forward pass", round(1 / 1.15, 2), warm_up=1,
            )  # fmt: skip


def measure_gradcam(setting):
    """RAM, laid over the image, against pytorch-grad-cam's GradCAM of the same layer.

    In the second table GradCAM is spared the gradients that it doesn't use, which its user must see to; there
    only in the channels-last format.
    """
    from explain_contenders import Explained
    from timing import timed

    for size in SIZES:
        for batch in GRAD_CAM_BATCHES:
            explained = Explained("net5", size, setting.precision, batch)
            ours = {"this project: RAM, laid over the image": timed(explained.ram_laid_over)}
            for frozen, target in ((False, 3), (True, None)):
                theirs = grad_cam_processes(explained.parameters, size, batch, frozen)
                name = "GradCAM, layers below frozen by hand" if frozen else "GradCAM"
                yield from against(
                    f"Net-5, {size} px, batch {batch}: {name}", theirs, ours, setting, batch, target
                )


def against(section, theirs, ours, setting, batch, target):
    """Times PyTorch's processes and this project side by side, and ends the processes."""
    from timing import compare

    try:
        return compare(section, {**theirs, **ours}, setting.schedule, batch, "to its best", target)
    finally:
        for process in theirs.values():
            process.close()


def grad_cam_processes(parameters, size, batch, frozen):
    """GradCAM of Net-5 in each precision and memory format: dict of name to `TorchGradCam`."""
    from contenders import network_rows
    from torch_gradcam import TorchGradCam

    from dr_keras.models.nets import WINDOWS as SIDES

    processes = {}
    for precision in ("float32", "mixed_bfloat16"):
        for channels_last in (False, True)[frozen:]:
            process = TorchGradCam(network_rows(size), SIDES[size], precision, batch, channels_last, frozen)
            processes[f"GradCAM, {precision}{', channels last' * channels_last}"] = process
            if process.parameters != parameters:
                raise RuntimeError(
                    f"PyTorch's network of {size} px isn't the same: expected {parameters} parameters"
                )
    return processes


def measure_occlusion(setting):
    """Windows hidden at an inner layer against as many passes through the whole network."""
    from explain_contenders import Explained
    from timing import compare, timed

    explained = Explained("net5", 256, setting.precision, 1)
    for layer, window, stride in WINDOWS:
        count = 1 + explained.positions(layer, window, stride)
        turns = {
            f"{count} whole passes": timed(explained.passes(count)),
            "occlusion, one trunk": timed(explained.occlusion(layer, window, stride)),
        }
        yield from compare(
            f"Net-5, 256 px: {count - 1} windows at {layer}", turns, setting.schedule, 1,
            "to whole passes", unit="ms/image", warm_up=1,
        )  # fmt: skip


def measure_alexnet(setting):
    """AlexNet's 36 positions of pool5 against one pass, as many whole passes, and tf-explain's on the image.

    tf-explain hides squares of the image, as its documentation has it: it can't start from a layer.
    """
    from explain_contenders import Explained
    from timing import compare, timed

    explained = Explained("alexnet", 256, setting.precision, 1)
    others = {
        "one forward pass": (timed(explained.plain), "of one pass", round(1 / 1.5, 2)),
        "36 whole passes": (timed(explained.passes(36, 1)), "to whole passes", 20),
        "36 whole passes, in batches": (timed(explained.passes(36)), "to whole passes", None),
    }
    if importlib.util.find_spec("tf_explain"):
        others["tf-explain, 36 squares"] = timed(explained.tf_explain(36)), "to tf-explain", None
    for name, (contender, ratio_to, target) in others.items():
        turns = {name: contender, "occlusion at pool5": timed(explained.occlusion("pool5", 1, 1))}
        yield from compare(
            f"AlexNet, 36 positions: {name}",
            turns,
            setting.schedule,
            1,
            ratio_to,
            target,
            "ms/image",
            warm_up=1,
        )


def measure_memory(setting):
    """Growth of a process's peak over 1,000 calls, of Net-5 at 128 px."""
    from explain_contenders import memory_growth
    from timing import Row

    calls = CALLS // 10 if command.FLAGS.quick else CALLS
    for name, method, batch in (
        ("RAM", "ram", 8), ("Grad-CAM", "grad_cam", 8), ("occlusion", ("conv11", 3, 3), 1)
    ):  # fmt: skip
        growth = memory_growth(method, 128, setting.precision, batch, calls)
        section = f"Net-5, 128 px: growth of the peak memory over {calls} calls"
        yield Row(section, f"{name}, batch {batch}", (growth,) * 3, "MiB", None, "", None, 1)


MEASURE = {
    "forward": measure_forward,
    "gradcam": measure_gradcam,
    "occlusion": measure_occlusion,
    "alexnet": measure_alexnet,
    "memory": measure_memory,
}
NEEDS = {"gradcam": ("pytorch_grad_cam", "dr-keras[benchmark]")}

command.define_flags(MEASURE)


if __name__ == "__main__":
    cli_flags.run(main)
